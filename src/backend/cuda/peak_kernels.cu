// On sm_90a the warp group's products with operands in shared memory, elsewhere the warp's with operands in
// registers: what a matrix product at its limit would issue.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/peak_kernels.h"

#include <cstdint>

namespace sheaf::cuda {
namespace {

constexpr int rounds = 4096, warps_per_block = 8, blocks_per_processor = 2;

__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__global__ void __launch_bounds__(32 * warps_per_block) products(float* sink) {
    float sums[8][4] = {};
    const uint32_t a[4] = {threadIdx.x, threadIdx.x + 1, 3, 4}, b[2] = {threadIdx.x, 5};
    for (int round = 0; round < rounds; ++round)
#pragma unroll
        for (int i = 0; i < 8; ++i) multiply(sums[i], a, b);
    float all = 0;
    for (int i = 0; i < 8; ++i) all += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
    if (all == 12345.0f) *sink = all;  // never: keeps the products
}

}  // namespace

double run_products(int processors, float* sink, cudaStream_t stream) {
    const int blocks = processors * blocks_per_processor;
    products<<<blocks, 32 * warps_per_block, 0, stream>>>(sink);
    check_launch("products");
    return 2.0 * 16 * 8 * 16 * 8.0 * rounds * warps_per_block * blocks;
}

}  // namespace sheaf::cuda
