// How far the recurrent state of a long sequence moves from the CPU's in f32: a DeltaNet layer over 32,768
// tokens in pieces of a prompt, with single steps in between. The figures are printed.
#include <cstdio>

#include "backend/cuda/testing/device_tensor.h"
#include "backend/cuda/testing/side.h"

namespace sheaf::cuda {
namespace {

using cpu::testing::random_tensor;
using testing::activations;
using testing::relative_error;
using testing::Side;

constexpr int64_t kernel = 4, key_heads = 2, value_heads = 4, dim = 128;
constexpr int64_t channels = (2 * key_heads + value_heads) * dim;
constexpr int64_t piece = 512, steps_after_piece = 3;

/// One layer with its state on one machine.
struct Layer {
    Side side;
    StateLayer state;
    Tensor taps, a_log, dt_bias, norm;

    explicit Layer(std::unique_ptr<Machine> machine) : side(std::move(machine)) {
        HostTensor decay(DType::f32, Shape{value_heads});
        for (int i = 0; i < value_heads; ++i)  // from a memory of thousands of tokens to one of a few
            decay.view.data<float>()[i] = -9.0f + 3.0f * static_cast<float>(i);
        state = {side.put(HostTensor(DType::f32, Shape{1, kernel - 1, channels})),
                 side.put(HostTensor(DType::f32, Shape{1, value_heads, dim, dim}))};
        taps = side.put(random_tensor(DType::f32, Shape{channels, kernel}, 1));
        a_log = side.put(decay);
        dt_bias = side.put(random_tensor(DType::f32, Shape{value_heads}, 4));
        norm = side.put(random_tensor(DType::f32, Shape{dim}, 5));
    }

    std::vector<float> run(const HostTensor& projections, int64_t context) {
        side.ops->begin_step();
        const int64_t rows = projections.view.size(0), values = value_heads * dim;
        const Tensor f32 = side.ops->upload(projections.view.raw(), DType::f32, projections.view.shape());
        const Tensor x = side.ops->cast(f32, side.ops->activation_dtype());
        const int64_t b = channels + values, a = b + value_heads;
        GatedDeltaNetInput input{x.columns(0, channels), taps, x.columns(channels, b), {}, {norm, 1e-6f}};
        input.rule.b = x.columns(b, a), input.rule.a = x.columns(a, a + value_heads);
        input.rule.a_log = a_log, input.rule.dt_bias = dt_bias;
        input.rule.key_heads = key_heads, input.rule.value_heads = value_heads;
        input.rule.key_dim = input.rule.value_dim = dim;
        const SequenceSpan span{0, static_cast<int32_t>(rows), static_cast<int32_t>(context), 0, {}};
        Batch batch;
        batch.sequences = std::span(&span, 1);
        return side.get(side.ops->gated_delta_net(input, state, batch));
    }
};

class CudaStateDrift : public ::testing::TestWithParam<ComputeType> {};

TEST_P(CudaStateDrift, StaysWithTheProcessorFor32kTokens) {
    const ComputeType compute = GetParam();
    const bool exact = compute == ComputeType::f32;
    Layer gpu(make_cuda_machine(0, compute));
    Layer cpu(cpu::make_cpu_machine(ComputeType::f32, 0, cpu::available_isas().back()));
    int64_t context = 0, next_report = 1024;
    for (uint64_t key = 10; context < 32768; ++key) {
        const bool whole_piece = context % (piece + steps_after_piece) == 0;
        const int64_t rows = whole_piece ? piece : 1;
        const HostTensor all =
            activations(compute, Shape{rows, channels + value_heads * dim + 2 * value_heads}, key);
        const std::vector<float> got = gpu.run(all, context), wanted = cpu.run(all, context);
        context += rows;
        if (context < next_report) continue;
        const double state =
                         relative_error(gpu.side.get(gpu.state.recurrent), cpu.side.get(cpu.state.recurrent)),
                     result = relative_error(got, wanted);
        std::printf("%s, %lld tokens: state %.2e, result %.2e (root mean square, relative)\n",
                    exact ? "f32" : "bf16", static_cast<long long>(context), state, result);
        EXPECT_LT(state, exact ? 1e-5 : 1e-2) << context;
        EXPECT_LT(result, exact ? 1e-5 : 1.5e-2) << context;
        next_report *= next_report < 8192 ? 8 : 4;
    }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaStateDrift, ::testing::Values(ComputeType::f32, ComputeType::bf16),
                         [](const auto& one) { return one.param == ComputeType::f32 ? "f32" : "bf16"; });

}  // namespace
}  // namespace sheaf::cuda
