// A Gated DeltaNet layer's step in one launch: when it fits, and its checks.
#include <bit>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/sequence/choices.h"
#include "backend/cuda/sequence/sequence.h"
#include "backend/cuda/sequence/tensors.h"

namespace sheaf::cuda {
bool delta_net_step_fits(const DeltaNetInput& input, const DeviceBatch& batch) {
    const DeltaRuleInput& rule = input.rule;
    const auto per_key = static_cast<uint64_t>(rule.value_heads / rule.key_heads);
    const bool shapes = input.x.dtype() == DType::bf16 && rule.key_dim == 128 && rule.value_dim == 128 &&
                        input.conv.size(1) == 4 && std::has_single_bit(per_key) && per_key <= 8 &&
                        batch.max_count <= 1;
    if (!shapes || forced_choices().separate_launches) return false;
    if (gpu(cudaDevAttrComputeCapabilityMajor) < 9) return false;
    return reinterpret_cast<uintptr_t>(input.conv.raw()) % 16 == 0;
}

void delta_net_step(const DeltaNetInput& input, const StateLayer& state, const DeviceBatch& batch,
                    const Tensor& result, cudaStream_t stream) {
    SHEAF_CHECK(delta_net_step_fits(input, batch));
    const DeltaRuleInput& rule = input.rule;
    const int64_t tokens = batch.tokens, values = rule.value_heads * 128,
                  channels = 2 * rule.key_heads * 128 + values;
    SHEAF_CHECK(state.conv.size(1) == 3 && state.conv.size(2) == channels &&
                state.recurrent.size(1) == rule.value_heads && state.recurrent.contiguous());
    DeltaStepWork work;
    work.x = rows_of(input.x, DType::bf16, tokens, channels);
    work.a = rows_of(rule.a, DType::bf16, tokens, rule.value_heads);
    work.b = rows_of(rule.b, DType::bf16, tokens, rule.value_heads);
    work.gate = rows_of(input.gate, DType::bf16, tokens, values);
    work.result = rows_of(result, DType::bf16, tokens, values);
    work.conv_weight = floats_of(input.conv, channels * 4);
    work.a_log = floats_of(rule.a_log, rule.value_heads);
    work.dt_bias = floats_of(rule.dt_bias, rule.value_heads);
    work.norm_weight = floats_of(input.norm.weight, 128);
    work.conv_state = state.conv.data<float>();
    work.state = state.recurrent.raw();
    work.state_element = element_of(state.recurrent.dtype());
    work.epsilon = input.norm.epsilon;
    work.channels = static_cast<int32_t>(channels);
    work.key_heads = static_cast<int32_t>(rule.key_heads);
    work.value_heads = static_cast<int32_t>(rule.value_heads);
    work.batch = batch;
    check(launch_delta_step(work, stream), "step of a Gated DeltaNet layer");
}

}  // namespace sheaf::cuda
