// On sm_90a the warp group's product with one operand in shared memory, elsewhere the warp's with both in
// registers: what a matrix product at its limit issues. The operands are random: zeros would draw less power
// and run at a higher clock.
#include <cstdint>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/wgmma.cuh"
#include "backend/cuda/peak_kernels.h"

namespace sheaf::cuda {
namespace {

constexpr int rounds = 2048, threads = 256, columns = 128;

/// Two bf16 numbers of either sign between 1 and 2.
__device__ __forceinline__ uint32_t random_pair(uint32_t i) {
    i = (i ^ (i >> 16)) * 0x45d9f3bu;
    i = (i ^ (i >> 16)) * 0x45d9f3bu;
    return 0x3f803f80u | (i & 0x807f807fu);
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// 4 products of 64 x 128 x 16 per round and warp group.
__device__ float multiply_all() {
    __shared__ __align__(1024) uint32_t b[columns * 32];
    for (int i = static_cast<int>(threadIdx.x); i < columns * 32; i += threads) b[i] = random_pair(i);
    __syncthreads();
    float sums[64] = {};
    uint32_t a[4];
    for (int i = 0; i < 4; ++i) a[i] = random_pair(threadIdx.x * 4 + i);
    const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(b));
    wgmma_fence();
    for (int round = 0; round < rounds; ++round) {
        for (int part = 0; part < 4; ++part) wgmma(sums, a, descriptor(swizzled_at(address + 32 * part)), 1);
        wgmma_commit();
        wgmma_wait<1>();
    }
    wgmma_wait<0>();
    float all = 0;
    for (const float sum : sums) all += sum;
    return all;
}

#else

/// 64 products of 16 x 8 x 16 per round and warp: as many operations.
__device__ float multiply_all() {
    float sums[16][4] = {};
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; ++i) a[i] = random_pair(threadIdx.x * 4 + i);
    for (int i = 0; i < 2; ++i) b[i] = random_pair(threadIdx.x * 2 + i + 999);
    for (int round = 0; round < 4 * rounds; ++round)
#pragma unroll
        for (int i = 0; i < 16; ++i)
            asm volatile(
                "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                "{%0,%1,%2,%3};"
                : "+f"(sums[i][0]), "+f"(sums[i][1]), "+f"(sums[i][2]), "+f"(sums[i][3])
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    float all = 0;
    for (const auto& sum : sums) all += sum[0] + sum[1] + sum[2] + sum[3];
    return all;
}

#endif

__global__ void __launch_bounds__(threads) products(float* sink) {
    const float all = multiply_all();
    if (all == 12345.0f) *sink = all;  // hardly ever: keeps the products
}

}  // namespace

double run_products(int processors, float* sink, cudaStream_t stream) {
    const int blocks = 2 * processors;
    products<<<static_cast<unsigned>(blocks), threads, 0, stream>>>(sink);
    check_launch("products");
    constexpr double of_a_round = 2.0 * 64 * columns * 16 * 4;  // per four warps
    return of_a_round * rounds * (threads / 128) * blocks;
}

}  // namespace sheaf::cuda
