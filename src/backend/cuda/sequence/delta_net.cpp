// A Gated DeltaNet layer's step in one launch: when it fits, and its checks.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/sequence/sequence.h"
#include "backend/cuda/sequence/tensors.h"

namespace sheaf::cuda {
namespace {

/// Up to this many sequences one launch is the faster (H200, 64 heads, microseconds with the convolution, the
/// rule and the norm: 1: 8.2 against 11.6, 8: 31 against 35, 32: 112 against 107), for every block convolves
/// q and k again.
constexpr int32_t most_sequences = 16;

}  // namespace

bool delta_net_step_fits(const DeltaNetInput& input, const DeviceBatch& batch) {
    const DeltaRuleInput& rule = input.rule;
    const bool shapes = input.x.dtype() == DType::bf16 && rule.key_dim == 128 && rule.value_dim == 128 &&
                        input.conv.size(1) == 4 && batch.max_count <= 1 && batch.sequences <= most_sequences;
    if (!shapes || gpu(cudaDevAttrComputeCapabilityMajor) < 9) return false;
    for (const Tensor* x : {&input.x, &input.gate})
        if (x->row_stride() % 4 != 0 || reinterpret_cast<uintptr_t>(x->raw()) % 8 != 0) return false;
    for (const Tensor* x : {&input.conv, &input.norm.weight})
        if (reinterpret_cast<uintptr_t>(x->raw()) % 16 != 0) return false;
    return true;
}

void delta_net_step(const DeltaNetInput& input, const StateLayer& state, const DeviceBatch& batch,
                    const Tensor& result, const Tensor& arrivals, cudaStream_t stream) {
    SHEAF_CHECK(delta_net_step_fits(input, batch));
    const DeltaRuleInput& rule = input.rule;
    const int64_t tokens = batch.tokens, values = rule.value_heads * 128,
                  channels = 2 * rule.key_heads * 128 + values;
    SHEAF_CHECK(state.conv.size(1) == 3 && state.conv.size(2) == channels &&
                state.recurrent.size(1) == rule.value_heads);
    SHEAF_CHECK(arrivals.dtype() == DType::i32 && arrivals.elements() >= batch.sequences * rule.key_heads);
    DeltaStepWork work;
    work.x = rows_of(input.x, DType::bf16, tokens, channels);
    work.a = rows_of(rule.a, DType::bf16, tokens, rule.value_heads);
    work.b = rows_of(rule.b, DType::bf16, tokens, rule.value_heads);
    work.gate = rows_of(input.gate, DType::bf16, tokens, values);
    work.result = rows_of(result, DType::bf16, tokens, values);
    SHEAF_CHECK(work.result.stride % 4 == 0 && reinterpret_cast<uintptr_t>(work.result.data) % 8 == 0);
    work.conv_weight = floats_of(input.conv, channels * 4);
    work.a_log = floats_of(rule.a_log, rule.value_heads);
    work.dt_bias = floats_of(rule.dt_bias, rule.value_heads);
    work.norm_weight = floats_of(input.norm.weight, 128);
    work.conv_state = state.conv.data<float>();
    work.state = state.recurrent.data<float>();
    work.arrivals = arrivals.data<int32_t>();
    work.epsilon = input.norm.epsilon;
    work.channels = static_cast<int32_t>(channels);
    work.key_heads = static_cast<int32_t>(rule.key_heads);
    work.value_heads = static_cast<int32_t>(rule.value_heads);
    work.batch = batch;
    check(launch_delta_net_step(work, stream), "step of a Gated DeltaNet layer");
}

}  // namespace sheaf::cuda
