// The machinery of pipelined kernels: barriers in shared memory, bulk copies into it (cp.async where there
// are none), a ring of slots between one producing warp and many consuming ones. Device code only.
#pragma once

#include <cstdint>

#include "backend/cuda/kernel_order.cuh"
#include "backend/cuda/matrix/dispatch.h"

namespace sheaf::cuda {

__device__ inline uint32_t shared_address(const void* p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/// 16 bytes of shared memory.
__device__ inline uint4 load_shared(uint32_t address) {
    uint4 value;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                 : "r"(address)
                 : "memory");
    return value;
}
__device__ inline uint32_t load_shared_word(uint32_t address) {
    uint32_t value;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
    return value;
}

/// Whether this is the lane that acts for its warp.
__device__ inline bool one_lane() {
#if __CUDA_ARCH__ >= 900
    uint32_t chosen;
    asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }" : "=r"(chosen));
    return chosen != 0;
#else
    return threadIdx.x % 32 == 0;
#endif
}

__device__ inline void barrier_init(uint32_t barrier, uint32_t count) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
__device__ inline void barrier_init(uint64_t* barrier, uint32_t count) {
    barrier_init(shared_address(barrier), count);
}

__device__ inline void barrier_arrive(uint64_t* barrier) {
    asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(shared_address(barrier))
                 : "memory");
}

__device__ inline void barrier_wait(uint32_t address, uint32_t parity) {
    uint32_t done = 0;
    while (!done) {
#if __CUDA_ARCH__ >= 900
        asm volatile(
            "{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
            : "=r"(done)
            : "r"(address), "r"(parity)
            : "memory");
#else
        asm volatile(
            "{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
            : "=r"(done)
            : "r"(address), "r"(parity)
            : "memory");
#endif
    }
}

__device__ inline void barrier_wait(uint64_t* barrier, uint32_t parity) {
    barrier_wait(shared_address(barrier), parity);
}

/// Makes initialized barriers visible to bulk copies; a block barrier must follow.
__device__ inline void barrier_init_done() {
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

constexpr int filling_warps = 4;  // of Fill::lanes

/// How many times a slot's full barrier is arrived at: by the announcing lane, or by all filling lanes.
__device__ inline uint32_t fill_arrivals(Fill fill) {
    return fill == Fill::bulk ? 1 : 32 * filling_warps;
}

/// One lane announces how many bytes will come.
__device__ inline void expect_bytes(uint32_t barrier, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("{ .reg .b64 state; mbarrier.arrive.expect_tx.shared.b64 state, [%0], %1; }" ::"r"(barrier),
                 "r"(bytes)
                 : "memory");
#endif
}
__device__ inline void expect_bytes(uint64_t* barrier, uint32_t bytes) {
    expect_bytes(shared_address(barrier), bytes);
}

/// Bytes (a multiple of 16, both sides 16-byte aligned) that are read once: by one lane on sm_90 and later.
__device__ inline void bulk_copy(uint32_t shared, const void* global, uint32_t bytes, uint32_t barrier) {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
            shared),
        "l"(global), "r"(bytes), "r"(barrier)
        : "memory");
#endif
}
__device__ inline void bulk_copy(void* shared, const void* global, uint32_t bytes, uint64_t* barrier) {
    bulk_copy(shared_address(shared), global, bytes, shared_address(barrier));
}

/// The same by `filling_warps` warps, `warp` being this one's number: kibibytes of a few pieces go round.
__device__ inline void lanes_copy(void* shared, const void* global, uint32_t bytes, uint32_t warp) {
    const uint32_t target = shared_address(shared);
    for (uint32_t at = warp * 512 + threadIdx.x % 32 * 16; at < bytes; at += 512 * filling_warps)
        asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(target + at),
                     "l"(static_cast<const uint8_t*>(global) + at)
                     : "memory");
}

/// 16 bytes by one lane, the first `bytes` of them read, the others zeros.
__device__ inline void lane_copy(uint32_t shared, const void* global, int bytes) {
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(shared), "l"(global),
                 "r"(bytes)
                 : "memory");
}

/// Ordinary (and cp.async) writes to shared memory that this thread knows of come before wgmma's reads.
__device__ inline void fence_for_wgmma() {
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

__device__ inline void arrive_after_copies(uint32_t barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
}
__device__ inline void arrive_after_copies(uint64_t* barrier) {
    arrive_after_copies(shared_address(barrier));
}

/// A ring of slots in shared memory. Each side keeps its own copy and advances it slot by slot.
struct Ring {
    uint8_t* data;
    uint64_t *full, *empty;
    int slots;
    uint32_t slot_bytes;
    int index = 0;
    uint32_t round = 0;

    __device__ uint8_t* slot() const { return data + static_cast<uint32_t>(index) * slot_bytes; }
    __device__ void advance() {
        if (++index == slots) {
            index = 0;
            round ^= 1;
        }
    }
    __device__ void wait_empty() { barrier_wait(empty + index, round ^ 1); }
    __device__ void wait_full() { barrier_wait(full + index, round); }
    /// By a whole consuming warp.
    __device__ void release() {
        __syncwarp();
        if (threadIdx.x % 32 == 0) barrier_arrive(empty + index);
        advance();
    }
};

}  // namespace sheaf::cuda
