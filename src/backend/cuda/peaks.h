// What a GPU reaches at most, measured: the bandwidth of a large copy inside its memory and the rate of bf16
// matrix products. Used by the CUDA machine for bench and plan. Must not know operators.
#pragma once

#include "backend/cuda/context.h"
#include "ops/machine.h"

namespace sheaf::cuda {

/// Takes about a tenth of a second and up to 1 GiB of free memory; where that is missing, its figure is 0.
MachinePeaks measure_peaks(const CudaContext& context);

}  // namespace sheaf::cuda
