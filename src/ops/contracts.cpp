#include "ops/contracts.h"

#include "ops/forwarding.h"

#define SHEAF_CONTRACT(condition) SHEAF_CHECK(condition, "contract of Ops::{}", __func__)

namespace sheaf {
namespace {

bool is_matrix(const Tensor& x) {
    return x.defined() && x.rank() == 2;
}
bool is_vector(const Tensor& x, DType dtype) {
    return x.defined() && x.rank() == 1 && x.dtype() == dtype;
}

class CheckedOps final : public ForwardingOps {
  public:
    using ForwardingOps::ForwardingOps;

    void stage(const Batch& batch) override {
        check_batch(batch);
        inner().stage(batch);
    }
    void download(const Tensor& source, void* host) override {
        SHEAF_CONTRACT(source.defined() && host);
        inner().download(source, host);
    }
    std::unique_ptr<Reading> read_later(const Tensor& source) override {
        SHEAF_CONTRACT(source.defined());
        return inner().read_later(source);
    }
    Tensor upload(const void* host, DType dtype, Shape shape) override {
        SHEAF_CONTRACT(host || shape.elements() == 0);
        return inner().upload(host, dtype, shape);
    }

    Tensor cast(const Tensor& x, DType dtype) override {
        SHEAF_CONTRACT(x.defined());
        return inner().cast(x, dtype);
    }
    Tensor unary(Unary function, const Tensor& x) override {
        SHEAF_CONTRACT(is_matrix(x));
        return inner().unary(function, x);
    }
    Tensor binary(Binary function, const Tensor& x, const Tensor& b) override {
        SHEAF_CONTRACT(is_matrix(x) && is_matrix(b));
        SHEAF_CONTRACT((b.size(0) == x.size(0) || b.size(0) == 1) &&
                       (b.size(1) == x.size(1) || b.size(1) == 1));
        return inner().binary(function, x, b);
    }
    Tensor scale(const Tensor& x, float factor) override {
        SHEAF_CONTRACT(is_matrix(x));
        return inner().scale(x, factor);
    }
    Tensor matmul(const Tensor& a, const Tensor& b) override {
        SHEAF_CONTRACT(is_matrix(a) && is_matrix(b) && a.size(1) == b.size(0));
        return inner().matmul(a, b);
    }
    Tensor transpose(const Tensor& x) override {
        SHEAF_CONTRACT(is_matrix(x));
        return inner().transpose(x);
    }
    Tensor sum_columns(const Tensor& x) override {
        SHEAF_CONTRACT(is_matrix(x));
        return inner().sum_columns(x);
    }
    Tensor rsqrt(const Tensor& x, float epsilon) override {
        SHEAF_CONTRACT(is_matrix(x));
        return inner().rsqrt(x, epsilon);
    }
    Tensor softmax(const Tensor& x, const Tensor& valid) override {
        SHEAF_CONTRACT(is_matrix(x));
        SHEAF_CONTRACT(!valid.defined() || (is_vector(valid, DType::i32) && valid.size(0) == x.size(0)));
        return inner().softmax(x, valid);
    }
    Routing top_k(const Tensor& probabilities, int64_t k) override {
        SHEAF_CONTRACT(is_matrix(probabilities) && 1 <= k && k <= probabilities.size(1));
        return inner().top_k(probabilities, k);
    }
    Tensor gather_rows(const Tensor& table, const Tensor& indices) override {
        SHEAF_CONTRACT(is_matrix(table) && is_vector(indices, DType::i32));
        return inner().gather_rows(table, indices);
    }
    void scatter_rows(const Tensor& destination, const Tensor& indices, const Tensor& rows) override {
        SHEAF_CONTRACT(is_matrix(destination) && is_matrix(rows) && is_vector(indices, DType::i32));
        SHEAF_CONTRACT(indices.size(0) == rows.size(0) && destination.size(1) == rows.size(1));
        inner().scatter_rows(destination, indices, rows);
    }
    Tensor concat_columns(std::span<const Tensor> parts) override {
        SHEAF_CONTRACT(!parts.empty());
        for (const Tensor& part : parts) SHEAF_CONTRACT(is_matrix(part) && part.size(0) == parts[0].size(0));
        return inner().concat_columns(parts);
    }
    Tensor linear(const Tensor& x, const Linear& weight) override {
        SHEAF_CONTRACT(weight && is_matrix(x) && x.size(1) == weight->in);
        return inner().linear(x, weight);
    }
    std::vector<Tensor> linears(const Tensor& x, std::span<const Linear> weights) override {
        SHEAF_CONTRACT(is_matrix(x) && !weights.empty());
        for (const Linear& weight : weights) SHEAF_CONTRACT(weight && x.size(1) == weight->in);
        return inner().linears(x, weights);
    }
    Tensor linear_f32(const Tensor& x, const Linear& weight) override {
        SHEAF_CONTRACT(weight && is_matrix(x) && x.size(1) == weight->in);
        return inner().linear_f32(x, weight);
    }
    Tensor expert(const Tensor& x, const Experts& experts, int64_t index) override {
        SHEAF_CONTRACT(experts && is_matrix(x) && x.size(1) == experts->hidden);
        SHEAF_CONTRACT(0 <= index && index < experts->count);
        return inner().expert(x, experts, index);
    }
    std::pair<Tensor, Tensor> rotary_angles(const Tensor& positions, const Rotary& rotary) override {
        check_rotary(positions, rotary);
        return inner().rotary_angles(positions, rotary);
    }

    Tensor rms_norm(const Tensor& x, const Norm& norm) override {
        check_norm(x, norm);
        return inner().rms_norm(x, norm);
    }
    std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& residual,
                                           const Norm& norm) override {
        check_norm(x, norm);
        SHEAF_CONTRACT(is_matrix(residual) && residual.shape() == x.shape());
        return inner().add_rms_norm(x, residual, norm);
    }
    Tensor gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm) override {
        check_norm(x, norm);
        SHEAF_CONTRACT(is_matrix(gate) && gate.shape() == x.shape());
        return inner().gated_rms_norm(x, gate, norm);
    }
    Tensor l2_norm(const Tensor& x, int64_t head_dim, float epsilon) override {
        SHEAF_CONTRACT(is_matrix(x) && head_dim > 0 && x.size(1) % head_dim == 0);
        return inner().l2_norm(x, head_dim, epsilon);
    }
    Tensor swiglu(const Tensor& gate, const Tensor& up) override {
        SHEAF_CONTRACT(is_matrix(gate) && is_matrix(up) && gate.shape() == up.shape());
        return inner().swiglu(gate, up);
    }
    Tensor add_gated(const Tensor& x, const Tensor& y, const Tensor& gate) override {
        SHEAF_CONTRACT(is_matrix(x) && is_matrix(y) && is_matrix(gate) && x.shape() == y.shape());
        SHEAF_CONTRACT(gate.size(0) == x.size(0) && gate.size(1) == 1);
        return inner().add_gated(x, y, gate);
    }
    Tensor rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary) override {
        check_rotary(positions, rotary);
        SHEAF_CONTRACT(is_matrix(x) && x.size(1) % head_dim == 0 && x.size(0) == positions.size(1));
        SHEAF_CONTRACT(2 * rotary.frequencies.size(0) <= head_dim);
        return inner().rotate(x, head_dim, positions, rotary);
    }
    void write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const Batch& batch) override {
        check_kv(cache, batch);
        const int64_t width = cache.keys.size(2) * cache.keys.size(3);
        SHEAF_CONTRACT(is_matrix(key) && is_matrix(value) && key.size(1) == width && value.size(1) == width);
        SHEAF_CONTRACT(key.size(0) == batch.tokens() && value.size(0) == batch.tokens());
        inner().write_kv(cache, key, value, batch);
    }
    Tensor attention(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads) override {
        check_kv(cache, batch);
        SHEAF_CONTRACT(is_matrix(query) && query.size(0) == batch.tokens());
        SHEAF_CONTRACT(query.size(1) == heads * cache.keys.size(3) && heads % cache.keys.size(2) == 0);
        return inner().attention(query, cache, batch, heads);
    }
    Tensor gated_attention(const GatedAttentionInput& input, const Rotary& rotary, const KvLayer& cache,
                           const Batch& batch) override {
        check_kv(cache, batch);
        check_rotary(batch.positions, rotary);
        SHEAF_CONTRACT(cache.keys.size(2) == input.kv_heads && cache.keys.size(3) == input.head_dim);
        SHEAF_CONTRACT(is_matrix(input.query_and_gate) && is_matrix(input.key) && is_matrix(input.value));
        SHEAF_CONTRACT(input.query_and_gate.size(1) == input.heads * 2 * input.head_dim);
        SHEAF_CONTRACT(input.key.size(1) == input.kv_heads * input.head_dim);
        SHEAF_CONTRACT(input.value.shape() == input.key.shape() && input.key.size(0) == batch.tokens());
        return inner().gated_attention(input, rotary, cache, batch);
    }
    Tensor causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state,
                         const Batch& batch) override {
        check_batch(batch);
        SHEAF_CONTRACT(is_matrix(x) && is_matrix(weight) && weight.dtype() == DType::f32);
        SHEAF_CONTRACT(x.size(0) == batch.tokens() && x.size(1) == weight.size(0));
        SHEAF_CONTRACT(state.conv.rank() == 3 && state.conv.dtype() == DType::f32);
        SHEAF_CONTRACT(state.conv.size(1) == weight.size(1) - 1 && state.conv.size(2) == weight.size(0));
        check_slots(state.conv.size(0), batch);
        return inner().causal_conv1d(x, weight, state, batch);
    }
    Tensor gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state,
                            const Batch& batch) override {
        check_batch(batch);
        const int64_t tokens = batch.tokens();
        const Shape keys{tokens, input.key_heads * input.key_dim}, heads{tokens, input.value_heads};
        SHEAF_CONTRACT(input.query.shape() == keys && input.key.shape() == keys);
        SHEAF_CONTRACT((input.value.shape() == Shape{tokens, input.value_heads * input.value_dim}));
        SHEAF_CONTRACT(input.a.shape() == heads && input.b.shape() == heads);
        SHEAF_CONTRACT(is_vector(input.a_log, DType::f32) && is_vector(input.dt_bias, DType::f32));
        SHEAF_CONTRACT(input.a_log.size(0) == input.value_heads &&
                       input.dt_bias.size(0) == input.value_heads);
        SHEAF_CONTRACT(input.value_heads % input.key_heads == 0);
        SHEAF_CONTRACT(state.recurrent.dtype() == DType::f32 || state.recurrent.dtype() == DType::bf16);
        SHEAF_CONTRACT(state.recurrent.rank() == 4 && state.recurrent.size(1) == input.value_heads);
        SHEAF_CONTRACT(state.recurrent.size(2) == input.key_dim &&
                       state.recurrent.size(3) == input.value_dim);
        check_slots(state.recurrent.size(0), batch);
        return inner().gated_delta_rule(input, state, batch);
    }
    Tensor gated_delta_net(const GatedDeltaNetInput& input, const StateLayer& state,
                           const Batch& batch) override {
        check_batch(batch);
        const DeltaRuleInput& rule = input.rule;
        const int64_t values = rule.value_heads * rule.value_dim;
        const Shape heads{batch.tokens(), rule.value_heads};
        SHEAF_CONTRACT(is_matrix(input.x) && is_matrix(input.taps) && input.taps.dtype() == DType::f32);
        SHEAF_CONTRACT((input.x.shape() == Shape{batch.tokens(), input.taps.size(0)}));
        SHEAF_CONTRACT(input.taps.size(0) == 2 * rule.key_heads * rule.key_dim + values);
        SHEAF_CONTRACT((input.gate.shape() == Shape{batch.tokens(), values}));
        SHEAF_CONTRACT(rule.a.shape() == heads && rule.b.shape() == heads);
        SHEAF_CONTRACT(is_vector(input.norm.weight, DType::f32) &&
                       input.norm.weight.size(0) == rule.value_dim);
        check_slots(state.recurrent.size(0), batch);
        return inner().gated_delta_net(input, state, batch);
    }
    Routing route(const Tensor& x, const Linear& router, int64_t k) override {
        SHEAF_CONTRACT(router && is_matrix(x) && x.size(1) == router->in && 1 <= k && k <= router->out);
        return inner().route(x, router, k);
    }
    Tensor moe(const Tensor& x, const Routing& routing, const Experts& experts) override {
        check_routing(x, routing, experts);
        return inner().moe(x, routing, experts);
    }
    std::pair<Routing, Tensor> route_with_shared(const Tensor& x, const Linear& router,
                                                 const Linear& shared_gate, int64_t k) override {
        SHEAF_CONTRACT(router && is_matrix(x) && x.size(1) == router->in && 1 <= k && k <= router->out);
        SHEAF_CONTRACT(shared_gate && shared_gate->in == router->in && shared_gate->out == 1);
        return inner().route_with_shared(x, router, shared_gate, k);
    }
    Tensor moe_with_shared(const Tensor& x, const Routing& routing, const Experts& experts,
                           const Experts& shared, const Tensor& gate) override {
        check_routing(x, routing, experts);
        SHEAF_CONTRACT(shared && shared->count == 1 && shared->hidden == experts->hidden);
        SHEAF_CONTRACT(is_matrix(gate) && gate.size(0) == x.size(0) && gate.size(1) == 1);
        return inner().moe_with_shared(x, routing, experts, shared, gate);
    }
    Tensor known_tokens(const Tensor& token_ids, const Tensor& chosen) override {
        SHEAF_CONTRACT(is_vector(token_ids, DType::i32) && is_vector(chosen, DType::i32));
        return inner().known_tokens(token_ids, chosen);
    }
    Sampled sample(const Tensor& logits, const SamplingBatch& batch) override {
        SHEAF_CONTRACT(is_matrix(logits) && logits.dtype() == DType::f32);
        const auto record = static_cast<int64_t>(sizeof(RowSampling)),
                   edit = static_cast<int64_t>(sizeof(LogitEdit));
        SHEAF_CONTRACT(is_matrix(batch.rows) && batch.rows.dtype() == DType::u8 && batch.rows.contiguous());
        SHEAF_CONTRACT((batch.rows.shape() == Shape{logits.size(0), record}));
        SHEAF_CONTRACT(!batch.edits.defined() || (is_matrix(batch.edits) && batch.edits.size(1) == edit));
        SHEAF_CONTRACT(!batch.masks.defined() ||
                       (is_matrix(batch.masks) && batch.masks.size(1) == (logits.size(1) + 31) / 32));
        SHEAF_CONTRACT(!batch.chosen.defined() || is_vector(batch.chosen, DType::i32));
        SHEAF_CONTRACT(batch.logprobs >= -1 && batch.logprobs <= logits.size(1));
        return inner().sample(logits, batch);
    }

  private:
    static void check_norm(const Tensor& x, const Norm& norm) {
        SHEAF_CONTRACT(is_matrix(x) && is_vector(norm.weight, DType::f32) &&
                       x.size(1) % norm.weight.size(0) == 0);
    }
    static void check_routing(const Tensor& x, const Routing& routing, const Experts& experts) {
        SHEAF_CONTRACT(experts && is_matrix(x) && x.size(1) == experts->hidden);
        SHEAF_CONTRACT(is_matrix(routing.ids) && routing.ids.dtype() == DType::i32);
        SHEAF_CONTRACT(routing.ids.size(0) == x.size(0) && routing.weights.shape() == routing.ids.shape());
        SHEAF_CONTRACT(routing.weights.dtype() == DType::f32);
    }
    static void check_rotary(const Tensor& positions, const Rotary& rotary) {
        SHEAF_CONTRACT(is_matrix(positions) && positions.dtype() == DType::i32 && positions.size(0) == 3);
        SHEAF_CONTRACT(is_vector(rotary.frequencies, DType::f32) && is_vector(rotary.axes, DType::i32));
        SHEAF_CONTRACT(rotary.frequencies.size(0) == rotary.axes.size(0));
    }
    static void check_batch(const Batch& batch) {
        SHEAF_CONTRACT(is_vector(batch.token_ids, DType::i32));
        int64_t next = 0;
        for (const SequenceSpan& sequence : batch.sequences) {
            // A padding sequence owns the rows up to the next one's, and none of them counts.
            const bool padding = sequence.count == 0 && sequence.begin >= next;
            SHEAF_CONTRACT(padding || (sequence.count > 0 && sequence.begin == next));
            SHEAF_CONTRACT(sequence.context >= 0);
            next = padding ? sequence.begin + 1 : next + sequence.count;
        }
        SHEAF_CONTRACT(next == batch.tokens());
    }
    static void check_slots(int64_t slots, const Batch& batch) {
        for (const SequenceSpan& sequence : batch.sequences)
            SHEAF_CONTRACT(0 <= sequence.slot && sequence.slot < slots);
    }
    static void check_kv(const KvLayer& cache, const Batch& batch) {
        check_batch(batch);
        SHEAF_CONTRACT(cache.keys.rank() == 4 && cache.keys.shape() == cache.values.shape());
        for (const SequenceSpan& sequence : batch.sequences) {
            const int64_t tokens = sequence.context + sequence.count;
            SHEAF_CONTRACT(static_cast<int64_t>(sequence.blocks.size()) * cache.keys.size(1) >= tokens);
            for (const int32_t block : sequence.blocks)
                SHEAF_CONTRACT(0 <= block && block < cache.keys.size(0));
        }
    }
};

}  // namespace

std::unique_ptr<Ops> make_checked_ops(std::unique_ptr<Ops> inner) {
    return std::make_unique<CheckedOps>(std::move(inner));
}

std::unique_ptr<Ops> checked_in_debug(std::unique_ptr<Ops> ops) {
#ifdef NDEBUG
    return ops;
#else
    return make_checked_ops(std::move(ops));
#endif
}

}  // namespace sheaf
