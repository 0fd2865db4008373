// Blocks of a cluster: their barrier, and writes to one another's shared memory. sm_90 and later. Device code
// only.
#pragma once

#include "backend/cuda/sequence/device_math.cuh"

namespace sheaf::cuda {

#if __CUDA_ARCH__ >= 900
/// Every thread of every block of the cluster arrives, then waits; what was written before an arrival is seen
/// after the wait, in shared memory of other blocks too.
__device__ inline void arrive_cluster() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n" ::: "memory");
}
__device__ inline void wait_cluster() {
    asm volatile("barrier.cluster.wait.acquire.aligned;\n" ::: "memory");
}
/// The address of the same place in the shared memory of another block of the cluster.
__device__ inline uint32_t address_in_block(const void* place, int block) {
    uint32_t address;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;\n"
                 : "=r"(address)
                 : "r"(shared_address(place)), "r"(block));
    return address;
}
__device__ inline void store_at(uint32_t address, float x) {
    asm volatile("st.shared::cluster.f32 [%0], %1;\n" ::"r"(address), "f"(x) : "memory");
}
__device__ inline void store_at(uint32_t address, float x, float y, float z, float w) {
    asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};\n" ::"r"(address), "f"(x), "f"(y), "f"(z),
                 "f"(w)
                 : "memory");
}
#endif  // sm_90

}  // namespace sheaf::cuda
