// The short convolution and the gated delta rule: checks, and which kernel takes which runs.
#include <climits>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/sequence/sequence.h"
#include "backend/cuda/sequence/tensors.h"

namespace sheaf::cuda {
namespace {

/// Rows that one block of the convolution slides over: single rows while there are few, so that they spread
/// over the GPU; longer runs read each input once.
struct TileRows {
    int32_t tokens, rows;
};
constexpr TileRows convolution_tiles[] = {{64, 1}, {512, 8}, {INT_MAX, 32}};

DeltaWork delta_work(const DeltaRuleInput& input, const StateLayer& state, const DeviceBatch& batch,
                     const Tensor& result) {
    const int64_t tokens = batch.tokens, heads = input.value_heads, kd = input.key_dim, vd = input.value_dim;
    const DType dtype = input.value.dtype();
    SHEAF_CHECK(heads % input.key_heads == 0 && kd <= 256, "{} value heads, {} key heads of {}", heads,
                input.key_heads, kd);
    SHEAF_CHECK(state.recurrent.dtype() == DType::f32 && state.recurrent.contiguous() &&
                state.recurrent.size(1) == heads && state.recurrent.size(2) == kd &&
                state.recurrent.size(3) == vd);
    DeltaWork work;
    work.element = element_of(dtype);
    work.query = rows_of(input.query, dtype, tokens, input.key_heads * kd);
    work.key = rows_of(input.key, dtype, tokens, input.key_heads * kd);
    work.value = rows_of(input.value, dtype, tokens, heads * vd);
    work.a = rows_of(input.a, dtype, tokens, heads);
    work.b = rows_of(input.b, dtype, tokens, heads);
    work.result = rows_of(result, dtype, tokens, heads * vd);
    work.a_log = floats_of(input.a_log, heads);
    work.dt_bias = floats_of(input.dt_bias, heads);
    work.state = state.recurrent.data<float>();
    work.key_heads = static_cast<int32_t>(input.key_heads);
    work.value_heads = static_cast<int32_t>(heads);
    work.key_dim = static_cast<int32_t>(kd);
    work.value_dim = static_cast<int32_t>(vd);
    work.longest = INT_MAX;
    work.batch = batch;
    return work;
}

}  // namespace

void causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state, const DeviceBatch& batch,
                   const Tensor& result, cudaStream_t stream) {
    const int64_t channels = weight.size(0), kernel = weight.size(1);
    SHEAF_CHECK(kernel >= 2 && kernel <= 8, "a convolution over {} rows", kernel);
    SHEAF_CHECK(state.conv.dtype() == DType::f32 && state.conv.contiguous() &&
                state.conv.size(1) == kernel - 1 && state.conv.size(2) == channels);
    ConvolutionWork work;
    work.element = element_of(x.dtype());
    work.x = rows_of(x, x.dtype(), batch.tokens, channels);
    work.result = rows_of(result, x.dtype(), batch.tokens, channels);
    work.weight = floats_of(weight, channels * kernel);
    work.state = state.conv.data<float>();
    work.channels = static_cast<int32_t>(channels);
    work.kernel = static_cast<int32_t>(kernel);
    work.vectors =
        channels % 8 == 0 && fits_vectors(work.element, work.x) && fits_vectors(work.element, work.result);
    for (const TileRows& tile : convolution_tiles)
        if (batch.tokens <= tile.tokens) {
            work.rows_per_block = tile.rows;
            break;
        }
    work.batch = batch;
    check(launch_convolution(work, stream), "convolution");
}

size_t gated_delta_rule_scratch_bytes(const DeltaRuleInput&, const DeviceBatch&) {
    return 0;
}

void gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state, const DeviceBatch& batch,
                      const Tensor& result, const Tensor& scratch, cudaStream_t stream) {
    SHEAF_CHECK(scratch.bytes() >= gated_delta_rule_scratch_bytes(input, batch));
    const DeltaWork work = delta_work(input, state, batch, result);
    check(launch_delta_steps(work, stream), "delta rule");
}

}  // namespace sheaf::cuda
