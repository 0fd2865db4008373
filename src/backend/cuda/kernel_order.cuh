// A kernel that may begin while the one before it still ends (programmatic dependent launch, sm_90 and later;
// elsewhere these do nothing, as kernels follow one another). Used by kernels whose launcher asks for it.
// Device code only.
#pragma once

namespace sheaf::cuda {

/// Waits until the kernel before this one is done and its results are visible (programmatic launch).
__device__ inline void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel's blocks start while this one ends; they wait as above before they read its results.
__device__ inline void allow_next_kernel() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace sheaf::cuda
