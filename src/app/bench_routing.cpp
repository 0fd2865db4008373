#include "app/bench_routing.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/counter_random.h"

namespace sheaf {

namespace {

constexpr uint64_t drawn_rows = 4096, rank_orders = 32;

/// Rows of `top_k` different experts, drawn once, as the drawing must not take part in a timed step: first
/// all rows with expert i in rank i, then all with the ranks moved on by some experts, and so on.
std::vector<int32_t> draw_table(const std::string& pattern, int64_t experts, int64_t top_k) {
    std::vector<int32_t> table, order(static_cast<size_t>(experts));
    std::vector<double> key(order.size());
    for (uint64_t row = 0; row < drawn_rows; ++row) {
        std::iota(order.begin(), order.end(), 0);
        // The top_k largest of log(u) / weight are a weighted draw without replacement.
        for (size_t i = 0; i < key.size(); ++i) {
            const double weight = pattern == "zipf" ? 1.0 / static_cast<double>(i + 1) : 1.0;
            key[i] = std::log(counter_random_uniform(row, i)) / weight;
        }
        std::partial_sort(order.begin(), order.begin() + top_k, order.end(),
                          [&](int32_t a, int32_t b) { return key[a] > key[b]; });
        table.insert(table.end(), order.begin(), order.begin() + top_k);
    }
    const size_t drawn = table.size();
    for (uint64_t move = 1; move < rank_orders; ++move) {
        const auto shift =
            static_cast<int64_t>(counter_random_bits(move, 2) % static_cast<uint64_t>(experts));
        for (size_t i = 0; i < drawn; ++i)
            table.push_back(static_cast<int32_t>((table[i] + shift) % experts));
    }
    return table;
}

class RoutedOps final : public Ops {
  public:
    RoutedOps(Machine& machine, const std::string& pattern, int64_t layers, int64_t experts, int64_t top_k)
        : inner_(machine.make_ops()), layers_(layers), top_k_(top_k) {
        std::vector<int32_t> ids = draw_table(pattern, experts, top_k);
        const Shape shape{static_cast<int64_t>(drawn_rows * rank_orders), top_k};
        memory_ = machine.upload(Tensor(ids.data(), DType::i32, shape), DType::i32);
        table_ = memory_.tensor(DType::i32, shape);
    }

    /// Where every layer of the step takes its rows from: a step may be recorded, and replays choose anew.
    void stage(const Batch& batch) override {
        inner_->stage(batch);
        const int64_t tokens = batch.tokens();
        std::vector<int32_t> rows;
        for (int64_t layer = 0; layer < layers_; ++layer) {
            const uint64_t first = counter_random_bits(++calls_, 1),
                           order = counter_random_bits(calls_, 2) % rank_orders;
            for (int64_t i = 0; i < tokens; ++i)
                rows.push_back(static_cast<int32_t>(order * drawn_rows +
                                                    (first + static_cast<uint64_t>(i)) % drawn_rows));
        }
        const std::vector<float> weights(static_cast<size_t>(tokens * top_k_),
                                         1.0f / static_cast<float>(top_k_));
        rows_ = inner_->upload(rows.data(), DType::i32, Shape{layers_ * tokens});
        weights_ = inner_->upload(weights.data(), DType::f32, Shape{tokens, top_k_});
        layer_ = 0;
    }
    Routing route(const Tensor& x, const Linear& router, int64_t top_k) override {
        inner_->route(x, router, top_k);  // its work belongs to the step
        return next_routing(x.size(0));
    }
    std::pair<Routing, Tensor> route_with_shared(const Tensor& x, const Linear& router,
                                                 const Linear& shared_gate, int64_t top_k) override {
        const Tensor gate = inner_->route_with_shared(x, router, shared_gate, top_k).second;
        return {next_routing(x.size(0)), gate};
    }
    void begin_step() override {
        inner_->begin_step();
        layer_ = layers_;
    }
    std::unique_ptr<Recording> record(const std::function<void()>& body) override {
        return inner_->record(body);
    }

    DType activation_dtype() const override { return inner_->activation_dtype(); }
    Tensor make(DType dtype, Shape shape) override { return inner_->make(dtype, shape); }
    void begin_layer(int layer) override {
        if (layer == 0 && rows_.defined()) ids_ = inner_->gather_rows(table_, rows_);  // for the whole step
        inner_->begin_layer(layer);
    }
    void download(const Tensor& source, void* host) override { inner_->download(source, host); }
    Tensor upload(const void* host, DType dtype, Shape shape) override {
        return inner_->upload(host, dtype, shape);
    }
    Tensor cast(const Tensor& x, DType dtype) override { return inner_->cast(x, dtype); }
    Tensor unary(Unary function, const Tensor& x) override { return inner_->unary(function, x); }
    Tensor binary(Binary function, const Tensor& x, const Tensor& b) override {
        return inner_->binary(function, x, b);
    }
    Tensor scale(const Tensor& x, float factor) override { return inner_->scale(x, factor); }
    Tensor matmul(const Tensor& a, const Tensor& b) override { return inner_->matmul(a, b); }
    Tensor transpose(const Tensor& x) override { return inner_->transpose(x); }
    Tensor sum_columns(const Tensor& x) override { return inner_->sum_columns(x); }
    Tensor rsqrt(const Tensor& x, float epsilon) override { return inner_->rsqrt(x, epsilon); }
    Tensor softmax(const Tensor& x, const Tensor& valid) override { return inner_->softmax(x, valid); }
    Routing top_k(const Tensor& probabilities, int64_t k) override { return inner_->top_k(probabilities, k); }
    Tensor gather_rows(const Tensor& table, const Tensor& indices) override {
        return inner_->gather_rows(table, indices);
    }
    void scatter_rows(const Tensor& destination, const Tensor& indices, const Tensor& rows) override {
        inner_->scatter_rows(destination, indices, rows);
    }
    Tensor concat_columns(std::span<const Tensor> parts) override { return inner_->concat_columns(parts); }
    Tensor linear(const Tensor& x, const Linear& weight) override { return inner_->linear(x, weight); }
    std::vector<Tensor> linears(const Tensor& x, std::span<const Linear> weights) override {
        return inner_->linears(x, weights);
    }
    Tensor linear_f32(const Tensor& x, const Linear& weight) override {
        return inner_->linear_f32(x, weight);
    }
    Tensor expert(const Tensor& x, const Experts& experts, int64_t index) override {
        return inner_->expert(x, experts, index);
    }
    std::pair<Tensor, Tensor> rotary_angles(const Tensor& positions, const Rotary& rotary) override {
        return inner_->rotary_angles(positions, rotary);
    }
    Tensor rms_norm(const Tensor& x, const Norm& norm) override { return inner_->rms_norm(x, norm); }
    std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& residual,
                                           const Norm& norm) override {
        return inner_->add_rms_norm(x, residual, norm);
    }
    Tensor gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm) override {
        return inner_->gated_rms_norm(x, gate, norm);
    }
    Tensor l2_norm(const Tensor& x, int64_t head_dim, float epsilon) override {
        return inner_->l2_norm(x, head_dim, epsilon);
    }
    Tensor swiglu(const Tensor& gate, const Tensor& up) override { return inner_->swiglu(gate, up); }
    Tensor add_gated(const Tensor& x, const Tensor& y, const Tensor& gate) override {
        return inner_->add_gated(x, y, gate);
    }
    Tensor rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary) override {
        return inner_->rotate(x, head_dim, positions, rotary);
    }
    void write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const Batch& batch) override {
        inner_->write_kv(cache, key, value, batch);
    }
    Tensor attention(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads) override {
        return inner_->attention(query, cache, batch, heads);
    }
    Tensor gated_attention(const GatedAttentionInput& input, const Rotary& rotary, const KvLayer& cache,
                           const Batch& batch) override {
        return inner_->gated_attention(input, rotary, cache, batch);
    }
    Tensor causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state,
                         const Batch& batch) override {
        return inner_->causal_conv1d(x, weight, state, batch);
    }
    Tensor gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state,
                            const Batch& batch) override {
        return inner_->gated_delta_rule(input, state, batch);
    }
    Tensor gated_delta_net(const GatedDeltaNetInput& input, const StateLayer& state,
                           const Batch& batch) override {
        return inner_->gated_delta_net(input, state, batch);
    }
    std::unique_ptr<Reading> read_later(const Tensor& source) override { return inner_->read_later(source); }
    Tensor known_tokens(const Tensor& token_ids, const Tensor& chosen) override {
        return inner_->known_tokens(token_ids, chosen);
    }
    Sampled sample(const Tensor& logits, const SamplingBatch& batch) override {
        return inner_->sample(logits, batch);
    }
    Tensor moe(const Tensor& x, const Routing& routing, const Experts& experts) override {
        return inner_->moe(x, routing, experts);
    }
    Tensor moe_with_shared(const Tensor& x, const Routing& routing, const Experts& experts,
                           const Experts& shared, const Tensor& gate) override {
        return inner_->moe_with_shared(x, routing, experts, shared, gate);
    }
    Tensor all_reduce(const Tensor& x) override { return inner_->all_reduce(x); }
    Tensor all_gather_columns(const Tensor& x) override { return inner_->all_gather_columns(x); }

  private:
    /// The choices of the next layer.
    Routing next_routing(int64_t tokens) {
        SHEAF_CHECK(layer_ < layers_ && rows_.size(0) == layers_ * tokens, "a routing that was not staged");
        const int64_t first = layer_++ * tokens;
        return {ids_.rows(first, first + tokens), weights_};
    }

    std::unique_ptr<Ops> inner_;
    int64_t layers_, top_k_, layer_ = 0;
    uint64_t calls_ = 0;
    Buffer memory_;
    Tensor table_, rows_, ids_, weights_;
};

}  // namespace

std::unique_ptr<Ops> make_routed_ops(Machine& machine, const std::string& pattern, int64_t layers,
                                     int64_t experts, int64_t top_k) {
    if (experts == 0) return machine.make_ops();
    return std::make_unique<RoutedOps>(machine, pattern, layers, experts, top_k);
}

}  // namespace sheaf
