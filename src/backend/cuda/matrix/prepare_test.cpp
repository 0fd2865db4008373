// The same weight, whatever the size of the parts in which it travels: bytes on the device are compared.
#include <gtest/gtest.h>

#include "backend/cuda/matrix/testing.h"

namespace sheaf::cuda {
namespace {

using cpu::testing::dense_linear;
using cpu::testing::fp8_linear;
using cpu::testing::int4_linear;
using cpu::testing::Int4Options;
using testing::allocate;

std::vector<uint8_t> bytes_of(const uint8_t* data, size_t size) {
    std::vector<uint8_t> bytes(size);
    check(cudaDeviceSynchronize(), "work before a copy");
    check(cudaMemcpy(bytes.data(), data, size, cudaMemcpyDeviceToHost), "copy from the GPU");
    return bytes;
}

/// One buffer that takes everything at once; buffers that take a few kilobytes.
struct Stagers {
    Stager whole{1, size_t{8} << 20}, parts{3, size_t{48} << 10};
};

TEST(CudaPrepare, PartsOfALinearAreTheWhole) {
    Stagers stagers;
    struct Case {
        const char* name;
        HostLinear weight;
    };
    const Case cases[] = {
        {"groups of 128", int4_linear(320, 1024, 1)},
        {"groups of 256", int4_linear(96, 2048, 2, {.group = 256})},
        {"groups of 64 and zeros", int4_linear(200, 832, 3, {.group = 64, .zeros = Int4Options::random})},
        {"groups of 32, f32", int4_linear(333, 1000 / 32 * 32, 4, {.group = 32, .scales = DType::f32})},
        {"one group", int4_linear(64, 1304, 5, {.group = 1304})},
        {"many rows", int4_linear(5000, 136, 6)},
        {"order", int4_linear(64, 1024, 7, {.group = 64, .shuffled = true})},
        {"bf16", dense_linear(333, 257, DType::bf16, 8)},
        {"fp8", fp8_linear(400, 300, 9)}};
    for (const Case& one : cases) {
        const auto whole = prepare_linear(one.weight, ComputeType::bf16, stagers.whole, allocate),
                   parts = prepare_linear(one.weight, ComputeType::bf16, stagers.parts, allocate);
        const size_t size = whole->matrix().weight_bytes();
        ASSERT_EQ(parts->matrix().weight_bytes(), size) << one.name;
        EXPECT_EQ(bytes_of(parts->matrix().data, size), bytes_of(whole->matrix().data, size)) << one.name;
    }
}

/// Gate and up as two matrices, and as the halves of one.
TEST(CudaPrepare, FusedExpertsAreTheSameAsSplitOnes) {
    Stagers stagers;
    constexpr int64_t count = 3, hidden = 640, inner = 104;
    for (const int64_t group : {32, 128}) {
        const Int4Options options{.group = group,
                                  .zeros = group == 32 ? Int4Options::random : Int4Options::none};
        const auto fused = [&](int64_t i) {
            const HostLinear both = int4_linear(2 * inner, hidden, 10 * static_cast<uint64_t>(i), options);
            return HostExpert{both.output_slice(0, inner), both.output_slice(inner, 2 * inner),
                              int4_linear(hidden, inner, 10 * static_cast<uint64_t>(i) + 5, {.group = 32})};
        };
        const auto split = [&](int64_t i) {
            HostExpert expert = fused(i);
            for (HostLinear* half : {&expert.gate, &expert.up}) {
                auto& weight = std::get<Int4Weight>(half->weight);
                for (HostTensor* part : {&weight.codes, &weight.scales, &weight.zeros}) {
                    if (!part->defined()) continue;
                    const HostTensor copy(part->view.dtype(), part->view.shape());
                    const size_t row = copy.view.bytes() / static_cast<size_t>(copy.view.size(0));
                    for (int64_t r = 0; r < copy.view.size(0); ++r)
                        std::memcpy(copy.view.rows(r, r + 1).raw(), part->view.rows(r, r + 1).raw(), row);
                    *part = copy;
                }
            }
            return expert;
        };
        const auto load = [&](auto&& source, Stager& stager) {
            const auto experts =
                prepare_experts(count, hidden, inner, source, ComputeType::bf16, stager, allocate);
            const DeviceExperts& device = experts->device();
            return bytes_of(device.gate_up.data, (device.gate_up_stride + device.down_stride) * count);
        };
        const auto wanted = load(split, stagers.whole);
        EXPECT_EQ(load(fused, stagers.whole), wanted) << group;
        EXPECT_EQ(load(fused, stagers.parts), wanted) << group;
        EXPECT_EQ(load(split, stagers.parts), wanted) << group;
    }
}

}  // namespace
}  // namespace sheaf::cuda
