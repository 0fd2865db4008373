// The defining bodies of the fused operators, made of primitives: what each one means, what a back end falls
// back on and is tested against. Written to be read; loops over sequences, heads and tokens run on the host.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "ops/ops.h"

namespace sheaf {
namespace {

Tensor upload_indices(Ops& ops, const std::vector<int32_t>& indices) {
    return ops.upload(indices.data(), DType::i32, Shape{static_cast<int64_t>(indices.size())});
}

Tensor row_range(Ops& ops, int64_t begin, int64_t end) {
    std::vector<int32_t> indices(static_cast<size_t>(end - begin));
    std::iota(indices.begin(), indices.end(), static_cast<int32_t>(begin));
    return upload_indices(ops, indices);
}

/// The rows of a page table at which tokens [0, tokens) of a sequence lie.
std::vector<int32_t> page_rows(const SequenceSpan& sequence, int64_t tokens, int64_t block_size) {
    std::vector<int32_t> rows(static_cast<size_t>(tokens));
    for (int64_t i = 0; i < tokens; ++i)
        rows[i] = static_cast<int32_t>(sequence.blocks[i / block_size] * block_size + i % block_size);
    return rows;
}

/// Pages (blocks, block_size, kv_heads, head_dim) as a matrix with one row per token.
Tensor as_rows(const Tensor& pages) {
    return pages.view(Shape{pages.size(0) * pages.size(1), pages.size(2) * pages.size(3)});
}

/// x (rows, heads * dim) as (rows * heads, dim).
Tensor split_heads(Ops& ops, const Tensor& x, int64_t dim) {
    const Tensor whole = x.contiguous() ? x : ops.cast(x, x.dtype());
    return whole.view(Shape{x.size(0) * x.size(1) / dim, dim});
}

template <class T>
std::vector<T> to_host(Ops& ops, const Tensor& x) {
    std::vector<T> values(static_cast<size_t>(x.elements()));
    ops.download(x, values.data());
    return values;
}

/// x / sum of its row, for positive rows.
Tensor divide_by_row_sum(Ops& ops, const Tensor& x) {
    const Tensor sum = ops.sum_columns(x);
    return ops.multiply(x, ops.rsqrt(ops.multiply(sum, sum), 0.0f));
}

Tensor normalized_rows(Ops& ops, const Tensor& x, float epsilon) {
    const Tensor mean = ops.scale(ops.sum_columns(ops.multiply(x, x)), 1.0f / static_cast<float>(x.size(1)));
    return ops.multiply(x, ops.rsqrt(mean, epsilon));
}

}  // namespace

namespace {

/// Of a machine that computes at once: there is nothing to wait for.
class DoneReading final : public Reading {
  public:
    DoneReading(Ops& ops, const Tensor& source) : bytes_(source.bytes()) {
        if (!bytes_.empty()) ops.download(source, bytes_.data());
    }
    std::span<const std::byte> wait() override { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

}  // namespace

std::unique_ptr<Reading> Ops::read_later(const Tensor& source) {
    return std::make_unique<DoneReading>(*this, source);
}

std::unique_ptr<Recording> Ops::record(const std::function<void()>&) {
    return nullptr;
}

std::vector<Tensor> Ops::linears(const Tensor& x, std::span<const Linear> weights) {
    std::vector<Tensor> results;
    for (const Linear& weight : weights) results.push_back(linear(x, weight));
    return results;
}

Tensor Ops::rms_norm(const Tensor& x, const Norm& norm) {
    const Tensor rows = split_heads(*this, x, norm.weight.size(0));
    const Tensor normalized = normalized_rows(*this, rows, norm.epsilon);
    const Tensor weight = norm.weight.view(Shape{1, norm.weight.size(0)});
    return add(normalized, multiply(normalized, weight)).view(Shape{x.size(0), x.size(1)});
}

std::pair<Tensor, Tensor> Ops::add_rms_norm(const Tensor& x, const Tensor& residual, const Norm& norm) {
    const Tensor sum = add(x, residual);
    return {rms_norm(sum, norm), sum};
}

Tensor Ops::gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm) {
    const int64_t dim = norm.weight.size(0);
    const Tensor normalized = normalized_rows(*this, split_heads(*this, x, dim), norm.epsilon);
    const Tensor weighted = multiply(normalized, norm.weight.view(Shape{1, dim}));
    const Tensor open = unary(Unary::silu, split_heads(*this, gate, dim));
    return multiply(weighted, open).view(Shape{x.size(0), x.size(1)});
}

Tensor Ops::l2_norm(const Tensor& x, int64_t head_dim, float epsilon) {
    const Tensor rows = split_heads(*this, x, head_dim);
    const Tensor squares = sum_columns(multiply(rows, rows));
    return multiply(rows, rsqrt(squares, epsilon)).view(Shape{x.size(0), x.size(1)});
}

Tensor Ops::swiglu(const Tensor& gate, const Tensor& up) {
    return multiply(unary(Unary::silu, gate), up);
}

Tensor Ops::add_gated(const Tensor& x, const Tensor& y, const Tensor& gate) {
    return add(x, multiply(y, unary(Unary::sigmoid, gate)));
}

Tensor Ops::rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary) {
    const auto [cosine, sine] = rotary_angles(positions, rotary);
    const int64_t half = rotary.frequencies.size(0);
    std::vector<Tensor> parts;
    for (int64_t head = 0; head < x.size(1) / head_dim; ++head) {
        const int64_t at = head * head_dim;
        const Tensor first = x.columns(at, at + half), second = x.columns(at + half, at + 2 * half);
        parts.push_back(binary(Binary::subtract, multiply(first, cosine), multiply(second, sine)));
        parts.push_back(add(multiply(second, cosine), multiply(first, sine)));
        if (2 * half < head_dim) parts.push_back(x.columns(at + 2 * half, at + head_dim));
    }
    return concat_columns(parts);
}

void Ops::write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const Batch& batch) {
    std::vector<int32_t> rows;
    for (const SequenceSpan& sequence : batch.sequences) {
        const auto all = page_rows(sequence, sequence.context + sequence.count, cache.keys.size(1));
        rows.insert(rows.end(), all.begin() + sequence.context, all.end());
    }
    const Tensor places = upload_indices(*this, rows);
    scatter_rows(as_rows(cache.keys), places, key);
    scatter_rows(as_rows(cache.values), places, value);
}

Tensor Ops::attention(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads) {
    const int64_t dim = cache.keys.size(3), kv_heads = cache.keys.size(2);
    const float factor = 1.0f / std::sqrt(static_cast<float>(dim));
    const Tensor result = make(activation_dtype(), Shape{query.size(0), heads * dim});
    for (const SequenceSpan& sequence : batch.sequences) {
        const int64_t length = sequence.context + sequence.count;
        const Tensor places = upload_indices(*this, page_rows(sequence, length, cache.keys.size(1)));
        const Tensor keys = gather_rows(as_rows(cache.keys), places);
        const Tensor values = gather_rows(as_rows(cache.values), places);
        std::vector<int32_t> visible(static_cast<size_t>(sequence.count));
        std::iota(visible.begin(), visible.end(), sequence.context + 1);
        const Tensor valid = upload_indices(*this, visible);
        const Tensor rows = query.rows(sequence.begin, sequence.begin + sequence.count);
        std::vector<Tensor> outputs;
        for (int64_t head = 0; head < heads; ++head) {
            const int64_t group = head / (heads / kv_heads);
            const Tensor k = keys.columns(group * dim, (group + 1) * dim);
            const Tensor v = values.columns(group * dim, (group + 1) * dim);
            const Tensor scores = matmul(rows.columns(head * dim, (head + 1) * dim), transpose(k));
            outputs.push_back(matmul(softmax(scale(scores, factor), valid), v));
        }
        const Tensor targets = row_range(*this, sequence.begin, sequence.begin + sequence.count);
        scatter_rows(result, targets, concat_columns(outputs));
    }
    return result;
}

Tensor Ops::gated_attention(const GatedAttentionInput& input, const Rotary& rotary, const KvLayer& cache,
                            const Batch& batch) {
    const int64_t dim = input.head_dim;
    std::vector<Tensor> queries, gates;
    for (int64_t head = 0; head < input.heads; ++head) {
        queries.push_back(input.query_and_gate.columns(2 * head * dim, (2 * head + 1) * dim));
        gates.push_back(input.query_and_gate.columns((2 * head + 1) * dim, (2 * head + 2) * dim));
    }
    const Tensor query =
        rotate(rms_norm(concat_columns(queries), input.q_norm), dim, batch.positions, rotary);
    const Tensor key = rotate(rms_norm(input.key, input.k_norm), dim, batch.positions, rotary);
    write_kv(cache, key, input.value, batch);
    const Tensor attended = attention(query, cache, batch, input.heads);
    return multiply(attended, unary(Unary::sigmoid, concat_columns(gates)));
}

Tensor Ops::causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state,
                          const Batch& batch) {
    const int64_t channels = weight.size(0), kernel = weight.size(1);
    const Tensor taps = transpose(weight);  // (kernel, channels)
    const Tensor result = make(activation_dtype(), Shape{x.size(0), channels});
    for (const SequenceSpan& sequence : batch.sequences) {
        const Tensor past =
            state.conv.rows(sequence.slot, sequence.slot + 1).view(Shape{kernel - 1, channels});
        const Tensor padded = make(DType::f32, Shape{kernel - 1 + sequence.count, channels});
        const std::vector<float> zeros(static_cast<size_t>((kernel - 1) * channels), 0.0f);
        const Tensor start =
            sequence.context > 0 ? past : upload(zeros.data(), DType::f32, Shape{kernel - 1, channels});
        scatter_rows(padded, row_range(*this, 0, kernel - 1), start);
        scatter_rows(padded, row_range(*this, kernel - 1, kernel - 1 + sequence.count),
                     x.rows(sequence.begin, sequence.begin + sequence.count));
        Tensor sum;
        for (int64_t tap = 0; tap < kernel; ++tap) {
            const Tensor part = multiply(padded.rows(tap, tap + sequence.count), taps.rows(tap, tap + 1));
            sum = sum.defined() ? add(sum, part) : part;
        }
        const Tensor targets = row_range(*this, sequence.begin, sequence.begin + sequence.count);
        scatter_rows(result, targets, unary(Unary::silu, sum));
        scatter_rows(past, row_range(*this, 0, kernel - 1),
                     padded.rows(sequence.count, sequence.count + kernel - 1));
    }
    return result;
}

Tensor Ops::gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state, const Batch& batch) {
    const int64_t heads = input.value_heads, kd = input.key_dim, vd = input.value_dim;
    const Tensor query = scale(l2_norm(input.query, kd, 1e-6f), 1.0f / std::sqrt(static_cast<float>(kd)));
    const Tensor key = l2_norm(input.key, kd, 1e-6f);
    const Tensor rate = unary(Unary::exp, input.a_log.view(Shape{1, heads}));
    const Tensor step =
        unary(Unary::softplus, add(cast(input.a, DType::f32), input.dt_bias.view(Shape{1, heads})));
    const auto decay = to_host<float>(*this, unary(Unary::exp, unary(Unary::negate, multiply(step, rate))));
    const auto beta = to_host<float>(*this, unary(Unary::sigmoid, cast(input.b, DType::f32)));
    const Tensor result = make(activation_dtype(), Shape{input.value.size(0), heads * vd});
    for (const SequenceSpan& sequence : batch.sequences) {
        const Tensor memory =
            state.recurrent.rows(sequence.slot, sequence.slot + 1).view(Shape{heads * kd, vd});
        for (int64_t head = 0; head < heads; ++head) {
            const int64_t group = head / (heads / input.key_heads);
            Tensor s = cast(memory.rows(head * kd, (head + 1) * kd), DType::f32);
            if (sequence.context == 0) {
                const std::vector<float> zeros(static_cast<size_t>(kd * vd), 0.0f);
                s = upload(zeros.data(), DType::f32, Shape{kd, vd});
            }
            for (int64_t t = sequence.begin; t < sequence.begin + sequence.count; ++t) {
                const Tensor k = key.rows(t, t + 1).columns(group * kd, (group + 1) * kd);
                const Tensor q = query.rows(t, t + 1).columns(group * kd, (group + 1) * kd);
                const Tensor v = input.value.rows(t, t + 1).columns(head * vd, (head + 1) * vd);
                s = scale(s, decay[t * heads + head]);
                const Tensor error = binary(Binary::subtract, v, matmul(k, s));
                s = add(s, matmul(transpose(k), scale(error, beta[t * heads + head])));
                scatter_rows(result.view(Shape{result.size(0) * heads, vd}),
                             row_range(*this, t * heads + head, t * heads + head + 1), matmul(q, s));
            }
            scatter_rows(memory, row_range(*this, head * kd, (head + 1) * kd), s);
        }
    }
    return result;
}

Tensor Ops::gated_delta_net(const GatedDeltaNetInput& input, const StateLayer& state, const Batch& batch) {
    const Tensor qkv = causal_conv1d(input.x, input.taps, state, batch);
    DeltaRuleInput rule = input.rule;
    const int64_t keys = rule.key_heads * rule.key_dim, values = rule.value_heads * rule.value_dim;
    rule.query = qkv.columns(0, keys);
    rule.key = qkv.columns(keys, 2 * keys);
    rule.value = qkv.columns(2 * keys, 2 * keys + values);
    return gated_rms_norm(gated_delta_rule(rule, state, batch), input.gate, input.norm);
}

Routing Ops::route(const Tensor& x, const Linear& router, int64_t k) {
    const Routing best = top_k(softmax(linear_f32(x, router), Tensor{}), k);
    return {best.ids, divide_by_row_sum(*this, best.weights)};
}

Tensor Ops::moe(const Tensor& x, const Routing& routing, const Experts& experts) {
    const int64_t tokens = x.size(0), k = routing.ids.size(1);
    const auto ids = to_host<int32_t>(*this, routing.ids);
    Tensor sum;
    for (int64_t choice = 0; choice < k; ++choice) {
        const Tensor part = make(activation_dtype(), Shape{tokens, x.size(1)});
        for (int64_t index = 0; index < experts->count; ++index) {
            std::vector<int32_t> rows;
            for (int64_t t = 0; t < tokens; ++t)
                if (ids[t * k + choice] == index) rows.push_back(static_cast<int32_t>(t));
            if (rows.empty()) continue;
            const Tensor places = upload_indices(*this, rows);
            const Tensor weights = gather_rows(routing.weights.columns(choice, choice + 1), places);
            scatter_rows(part, places, multiply(expert(gather_rows(x, places), experts, index), weights));
        }
        sum = sum.defined() ? add(sum, part) : part;
    }
    return sum;
}

std::pair<Routing, Tensor> Ops::route_with_shared(const Tensor& x, const Linear& router,
                                                  const Linear& shared_gate, int64_t k) {
    return {route(x, router, k), linear(x, shared_gate)};
}

Tensor Ops::moe_with_shared(const Tensor& x, const Routing& routing, const Experts& experts,
                            const Experts& shared, const Tensor& gate) {
    return add_gated(moe(x, routing, experts), expert(x, shared, 0), gate);
}

}  // namespace sheaf
