// The stateful operators of a Gated DeltaNet layer, token after token, divided over sequences and heads or
// channels.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/cpu_ops.h"
#include "backend/cpu/matrix_product.h"

namespace sheaf::cpu {

Tensor CpuOps::causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state,
                             const Batch& batch) {
    constexpr int64_t lanes = 16, strips_per_task = 8, longest_kernel = 16;
    const int64_t channels = weight.size(0), kernel = weight.size(1);
    SHEAF_CHECK(x.size(1) == channels && kernel >= 1 && kernel <= longest_kernel);
    SHEAF_CHECK(state.conv.size(1) == kernel - 1 && state.conv.size(2) == channels);
    const Tensor result = make(DType::f32, Shape{x.size(0), channels});
    const int64_t task_channels = strips_per_task * lanes;
    const int64_t ranges = (channels + task_channels - 1) / task_channels;
    pool_.parallel_for(std::ssize(batch.sequences) * ranges, [&](int64_t task) {
        const SequenceSpan& sequence = batch.sequences[static_cast<size_t>(task / ranges)];
        const int64_t begin = task % ranges * task_channels, end = std::min(channels, begin + task_channels);
        for (int64_t channel = begin; channel < end; channel += lanes) {
            const int64_t count = std::min(lanes, end - channel);
            float* history = state.conv.row<float>(sequence.slot) + channel;
            if (sequence.context == 0)
                for (int64_t i = 0; i < kernel - 1; ++i) std::fill_n(history + i * channels, count, 0.0f);
            kernels_.causal_conv(x.row<float>(sequence.begin) + channel, x.row_stride(),
                                 weight.row<float>(channel), kernel, history, channels, sequence.count, count,
                                 result.row<float>(sequence.begin) + channel, channels);
        }
    });
    return result;
}

Tensor CpuOps::gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state, const Batch& batch) {
    constexpr float epsilon = 1e-6f;
    const int64_t rows = input.value.size(0), kd = input.key_dim, vd = input.value_dim;
    const int64_t heads = input.value_heads, key_heads = input.key_heads;
    SHEAF_CHECK(heads % key_heads == 0 && input.query.size(1) == key_heads * kd &&
                input.key.size(1) == key_heads * kd && input.value.size(1) == heads * vd);
    const Tensor query = make(DType::f32, Shape{rows, key_heads * kd}), key = make(DType::f32, query.shape());
    const Tensor decay = make(DType::f32, Shape{rows, heads}), beta = make(DType::f32, Shape{rows, heads});
    const float query_scale = 1.0f / std::sqrt(static_cast<float>(kd));
    for_rows(rows, 2 * key_heads * kd + 32 * heads, [&](int64_t row) {
        float *q = query.row<float>(row), *k = key.row<float>(row);
        for (int64_t at = 0; at < key_heads * kd; at += kd) {
            kernels_.l2_norm(input.query.row<float>(row) + at, epsilon, q + at, kd);
            kernels_.l2_norm(input.key.row<float>(row) + at, epsilon, k + at, kd);
        }
        kernels_.binary_constant(BinaryKind::multiply, q, query_scale, q, key_heads * kd);
        const float *a = input.a.row<float>(row), *a_log = input.a_log.data<float>(),
                    *dt_bias = input.dt_bias.data<float>();
        for (int64_t head = 0; head < heads; ++head) {
            const float x = a[head] + dt_bias[head];
            const float step = x > 20.0f ? x : std::log1p(std::exp(x));
            decay.row<float>(row)[head] = std::exp(-std::exp(a_log[head]) * step);
        }
        kernels_.unary(UnaryKind::sigmoid, input.b.row<float>(row), beta.row<float>(row), heads);
    });
    const Tensor result = make(DType::f32, Shape{rows, heads * vd});
    pool_.parallel_for(std::ssize(batch.sequences) * heads, [&](int64_t task) {
        const SequenceSpan& sequence = batch.sequences[static_cast<size_t>(task / heads)];
        const int64_t head = task % heads, key_head = head / (heads / key_heads);
        DeltaRun run;
        run.query = query.row<float>(sequence.begin) + key_head * kd;
        run.key = key.row<float>(sequence.begin) + key_head * kd;
        run.value = input.value.row<float>(sequence.begin) + head * vd;
        run.decay = decay.row<float>(sequence.begin) + head;
        run.beta = beta.row<float>(sequence.begin) + head;
        const bool narrow = state.recurrent.dtype() == DType::bf16;
        bfloat16* const stored =
            narrow ? state.recurrent.row<bfloat16>(sequence.slot) + head * kd * vd : nullptr;
        run.state = narrow ? Scratch::floats(Scratch::rows, kd * vd)
                           : state.recurrent.row<float>(sequence.slot) + head * kd * vd;
        run.output = result.row<float>(sequence.begin) + head * vd;
        run.tokens = sequence.count;
        run.key_dim = kd;
        run.value_dim = vd;
        run.key_stride = key_heads * kd;
        run.value_stride = input.value.row_stride();
        run.gate_stride = heads;
        run.output_stride = heads * vd;
        if (sequence.context == 0)
            std::fill_n(run.state, kd * vd, 0.0f);
        else if (narrow)
            kernels_.bf16_to_f32(reinterpret_cast<const uint16_t*>(stored), run.state, kd * vd);
        kernels_.delta_rule(run);
        if (narrow) kernels_.f32_to_bf16(run.state, reinterpret_cast<uint16_t*>(stored), kd * vd);
    });
    return result;
}

}  // namespace sheaf::cpu
