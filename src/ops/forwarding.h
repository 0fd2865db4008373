// ForwardingOps: an Ops that hands every call on to another. Base of those that change or watch a few
// operators: checks of contracts, routing for benchmarks, later the trace, the tape and offload. A fused
// operator goes on as such: who changes an operator also changes the fused ones that contain it. Must not
// know what computes.
#pragma once

#include <utility>

#include "ops/ops.h"

namespace sheaf {

class ForwardingOps : public Ops {
  public:
    explicit ForwardingOps(std::unique_ptr<Ops> inner) : inner_(std::move(inner)) {}

    DType activation_dtype() const override { return inner_->activation_dtype(); }
    Tensor make(DType dtype, Shape shape) override { return inner_->make(dtype, shape); }
    void begin_step() override { inner_->begin_step(); }
    void begin_layer(int layer) override { inner_->begin_layer(layer); }
    void stage(const Batch& batch) override { inner_->stage(batch); }
    std::unique_ptr<Recording> record(const std::function<void()>& body) override {
        return inner_->record(body);
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
    Tensor linear_f32(const Tensor& x, const Linear& weight) override {
        return inner_->linear_f32(x, weight);
    }
    Tensor expert(const Tensor& x, const Experts& experts, int64_t index) override {
        return inner_->expert(x, experts, index);
    }
    std::pair<Tensor, Tensor> rotary_angles(const Tensor& positions, const Rotary& rotary) override {
        return inner_->rotary_angles(positions, rotary);
    }
    std::vector<Tensor> linears(const Tensor& x, std::span<const Linear> weights) override {
        return inner_->linears(x, weights);
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
    Routing route(const Tensor& x, const Linear& router, int64_t top_k) override {
        return inner_->route(x, router, top_k);
    }
    Tensor moe(const Tensor& x, const Routing& routing, const Experts& experts) override {
        return inner_->moe(x, routing, experts);
    }
    std::pair<Routing, Tensor> route_with_shared(const Tensor& x, const Linear& router,
                                                 const Linear& shared_gate, int64_t top_k) override {
        return inner_->route_with_shared(x, router, shared_gate, top_k);
    }
    Tensor moe_with_shared(const Tensor& x, const Routing& routing, const Experts& experts,
                           const Experts& shared, const Tensor& gate) override {
        return inner_->moe_with_shared(x, routing, experts, shared, gate);
    }
    std::unique_ptr<Reading> read_later(const Tensor& source) override { return inner_->read_later(source); }
    Tensor known_tokens(const Tensor& token_ids, const Tensor& chosen) override {
        return inner_->known_tokens(token_ids, chosen);
    }
    Sampled sample(const Tensor& logits, const SamplingBatch& batch) override {
        return inner_->sample(logits, batch);
    }
    Tensor all_reduce(const Tensor& x) override { return inner_->all_reduce(x); }
    Tensor all_gather_columns(const Tensor& x) override { return inner_->all_gather_columns(x); }

  protected:
    Ops& inner() { return *inner_; }

  private:
    std::unique_ptr<Ops> inner_;
};

}  // namespace sheaf
