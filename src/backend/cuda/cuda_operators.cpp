// The fused operators: results and scratch from the step's memory, work from matrix/ and sequence/.
#include <array>

#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/joined.h"
#include "backend/cuda/matrix/matrix.h"
#include "backend/cuda/primitives.h"
#include "backend/cuda/sampling.h"
#include "backend/cuda/sequence/sequence.h"

namespace sheaf::cuda {
namespace {

constexpr int64_t most_experts = 512, most_choices = 16;  // of the kernel that chooses

}  // namespace

Tensor CudaOps::linear(const Tensor& x, const Linear& weight) {
    const CudaLinear& matrix = cuda_linear(weight);
    const Tensor result = make(activation_dtype(), Shape{x.size(0), weight->out});
    cuda::linear(x, matrix, result, scratch(linear_scratch_bytes(matrix, x.size(0))), stream());
    return result;
}

std::vector<Tensor> CudaOps::linears(const Tensor& x, std::span<const Linear> weights) {
    const JoinedLinears* joined = joined_of(weights);
    if (!joined) return Ops::linears(x, weights);
    const Tensor all = make(activation_dtype(), Shape{x.size(0), joined->whole->out});
    cuda::linear(x, *joined->whole, all, scratch(linear_scratch_bytes(*joined->whole, x.size(0))), stream());
    std::vector<Tensor> parts;
    for (size_t i = 0; i < weights.size(); ++i) {
        const int64_t first = joined->first_columns[i];
        parts.push_back(all.columns(first, first + weights[i]->out));
    }
    return parts;
}

Tensor CudaOps::linear_f32(const Tensor& x, const Linear& weight) {
    const CudaLinear& matrix = cuda_linear(weight);
    const Tensor result = make(DType::f32, Shape{x.size(0), weight->out});
    cuda::linear(x, matrix, result, scratch(linear_scratch_bytes(matrix, x.size(0))), stream());
    return result;
}

Tensor CudaOps::expert(const Tensor& x, const Experts& experts, int64_t index) {
    const CudaExperts& all = cuda_experts(experts);
    const Tensor result = make(x.dtype(), Shape{x.size(0), experts->hidden});
    cuda::expert(x, all, index, result, scratch(expert_scratch_bytes(all, x.size(0))), stream());
    return result;
}

Tensor CudaOps::rms_norm(const Tensor& x, const Norm& norm) {
    const Tensor result = make(activation_dtype(), x.shape());
    cuda::rms_norm(activations(x), norm, result, stream());
    return result;
}

std::pair<Tensor, Tensor> CudaOps::add_rms_norm(const Tensor& x, const Tensor& residual, const Norm& norm) {
    const Tensor result = make(activation_dtype(), x.shape()), sum = make(activation_dtype(), x.shape());
    cuda::add_rms_norm(activations(x), activations(residual), norm, result, sum, stream());
    return {result, sum};
}

Tensor CudaOps::gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm) {
    const Tensor result = make(activation_dtype(), x.shape());
    cuda::gated_rms_norm(activations(x), activations(gate), norm, result, stream());
    return result;
}

Tensor CudaOps::l2_norm(const Tensor& x, int64_t head_dim, float epsilon) {
    const Tensor result = make(activation_dtype(), x.shape());
    cuda::l2_norm(activations(x), head_dim, epsilon, result, stream());
    return result;
}

Tensor CudaOps::swiglu(const Tensor& gate, const Tensor& up) {
    const Tensor result = make(activation_dtype(), gate.shape());
    cuda::swiglu(activations(gate), activations(up), result, stream());
    return result;
}

Tensor CudaOps::add_gated(const Tensor& x, const Tensor& y, const Tensor& gate) {
    const Tensor result = make(activation_dtype(), x.shape());
    cuda::add_gated(activations(x), activations(y), activations(gate), result, stream());
    return result;
}

Tensor CudaOps::rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary) {
    const Tensor result = make(activation_dtype(), x.shape());
    cuda::rotate(activations(x), head_dim, positions, rotary, result, stream());
    return result;
}

void CudaOps::write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const Batch& batch) {
    cuda::write_kv(cache, activations(key), activations(value), device_batch(batch), stream());
}

Tensor CudaOps::attention(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads) {
    const DeviceBatch& spans = device_batch(batch);
    const Tensor result = make(activation_dtype(), query.shape());
    cuda::attention(activations(query), cache, spans, heads, result,
                    scratch(attention_scratch_bytes(activation_dtype(), heads, cache, spans)), stream());
    return result;
}

Tensor CudaOps::gated_attention(const GatedAttentionInput& input, const Rotary& rotary, const KvLayer& cache,
                                const Batch& batch) {
    const DeviceBatch& spans = device_batch(batch);
    GatedAttentionInput own = input;
    own.query_and_gate = activations(input.query_and_gate);
    own.key = activations(input.key);
    own.value = activations(input.value);
    const Tensor result = make(activation_dtype(), Shape{input.key.size(0), input.heads * input.head_dim});
    cuda::gated_attention(own, batch.positions, rotary, cache, spans, result,
                          scratch(gated_attention_scratch_bytes(own, cache, spans)), arrivals_, stream());
    return result;
}

Tensor CudaOps::causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state,
                              const Batch& batch) {
    const Tensor result = make(activation_dtype(), x.shape());
    cuda::causal_conv1d(activations(x), weight, state, device_batch(batch), result, stream());
    return result;
}

Tensor CudaOps::gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state, const Batch& batch) {
    const DeviceBatch& spans = device_batch(batch);
    DeltaRuleInput own = input;
    for (Tensor* part : {&own.query, &own.key, &own.value, &own.a, &own.b}) *part = activations(*part);
    const Tensor result = make(activation_dtype(), input.value.shape());
    cuda::gated_delta_rule(own, state, spans, result, scratch(gated_delta_rule_scratch_bytes(own, spans)),
                           stream());
    return result;
}

Tensor CudaOps::gated_delta_net(const GatedDeltaNetInput& input, const StateLayer& state,
                                const Batch& batch) {
    const DeviceBatch& spans = device_batch(batch);
    const DeltaNetInput own{
        .x = input.x, .conv = input.taps, .gate = input.gate, .rule = input.rule, .norm = input.norm};
    if (!delta_net_step_fits(own, spans)) return Ops::gated_delta_net(input, state, batch);
    const Tensor result = make(activation_dtype(), input.gate.shape());
    delta_net_step(own, state, spans, result, stream());
    return result;
}

Routing CudaOps::route(const Tensor& x, const Linear& router, int64_t k) {
    if (router->out > most_experts || k > most_choices) return Ops::route(x, router, k);
    const CudaLinear& matrix = cuda_linear(router);
    const Shape shape{x.size(0), k};
    const Routing routing{make(DType::i32, shape), make(DType::f32, shape)};
    cuda::route(x, matrix, k, routing, scratch(route_scratch_bytes(matrix, x.size(0))), stream());
    return routing;
}

std::pair<Routing, Tensor> CudaOps::route_with_shared(const Tensor& x, const Linear& router,
                                                      const Linear& shared_gate, int64_t k) {
    const JoinedLinears* joined = joined_of(std::array{router, shared_gate});
    if (!joined || router->out > most_experts || k > most_choices)
        return Ops::route_with_shared(x, router, shared_gate, k);
    const CudaLinear& both = *joined->whole;
    const Tensor logits = make(DType::f32, Shape{x.size(0), router_columns(both)});
    router_logits(x, both, logits, scratch(linear_scratch_bytes(both, x.size(0))), stream());
    const Shape shape{x.size(0), k};
    const Routing routing{make(DType::i32, shape), make(DType::f32, shape)};
    choose_experts(logits, router->out, k, routing, stream());
    return {routing, logits.columns(router->out, router->out + 1)};
}

Tensor CudaOps::mixture(const Tensor& x, const Routing& routing, const CudaExperts& experts) {
    const Tensor result = make(x.dtype(), Shape{x.size(0), experts.hidden});
    cuda::moe(x, routing, experts, result,
              scratch(moe_scratch_bytes(experts, x.size(0), routing.ids.size(1))), stream());
    return result;
}

Tensor CudaOps::moe(const Tensor& x, const Routing& routing, const Experts& experts) {
    return mixture(x, routing, cuda_experts(experts));
}

Tensor CudaOps::moe_with_shared(const Tensor& x, const Routing& routing, const Experts& experts,
                                const Experts& shared, const Tensor& gate) {
    const SharedExpert* beside = shared_beside(experts, shared);
    if (!beside) return Ops::moe_with_shared(x, routing, experts, shared, gate);
    const Shape shape{x.size(0), routing.ids.size(1) + 1};
    const Routing more{make(DType::i32, shape), make(DType::f32, shape)};
    add_choice(routing, gate, experts->count, more, stream());
    return mixture(x, more, beside->all());
}

Tensor CudaOps::known_tokens(const Tensor& token_ids, const Tensor& chosen) {
    const Tensor result = make(DType::i32, token_ids.shape());
    cuda::known_tokens(token_ids, chosen, result, stream());
    return result;
}

Sampled CudaOps::sample(const Tensor& logits, const SamplingBatch& batch) {
    const int64_t rows = logits.size(0), columns = logits.size(1), best = batch.logprobs;
    if (!fits_sampling(columns, best)) return Ops::sample(logits, batch);
    Sampled result;
    result.rows = make(DType::i32, Shape{rows, 4});
    if (best > 0) {
        result.best_ids = make(DType::i32, Shape{rows, best});
        result.best_logprobs = make(DType::f32, Shape{rows, best});
    }
    const SamplingForm form = sampling_form(columns);
    cuda::sample(logits, batch, result, scratch(sampling_scratch_bytes(rows, columns, best, form)), form,
                 stream());
    return result;
}

}  // namespace sheaf::cuda
