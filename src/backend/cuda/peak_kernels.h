// Tensor core products without memory, to measure their rate. Used by peaks.cpp alone. Must not know what the
// rate is for.
#pragma once

#include <cuda_runtime_api.h>

namespace sheaf::cuda {

/// Launches products on all `processors`; returns the multiplications and additions they do. `sink`: a float.
double run_products(int processors, float* sink, cudaStream_t stream);

}  // namespace sheaf::cuda
