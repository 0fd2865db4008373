// Preparation: weights in canonical form (HostLinear) to the GPU's layout, through pinned buffers, with
// reads, copies and repacking (device kernels on a staging buffer) overlapped. Also fills weights with random
// numbers on the device. Used by the CUDA machine. Must not know operators.
//
// int4 stays packed when its groups are a multiple of 32 inputs (or one group is all). What has another
// group size or an input order, and fp8, becomes bf16 (f32 where `compute` is f32), rounded once; f32 and f16
// become bf16 where `compute` is bf16. A layer whose experts are not all of one kind becomes floats as a
// whole.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>

#include "backend/cuda/matrix/stager.h"
#include "backend/cuda/matrix/weights.h"

namespace sheaf::cuda {

/// Device memory, 256-byte aligned. Errors: out_of_memory.
using Allocate = std::function<Buffer(size_t bytes)>;

/// Waits until the weight is complete. Errors: out_of_memory, corrupt_file for FP8 values that are no
/// numbers.
std::shared_ptr<const CudaLinear> prepare_linear(const HostLinear& linear, ComputeType compute,
                                                 Stager& stager, const Allocate& allocate);

/// Pulls expert after expert from `load`, from several threads, each index once.
std::shared_ptr<const CudaExperts> prepare_experts(int64_t count, int64_t hidden, int64_t intermediate,
                                                   const std::function<HostExpert(int64_t expert)>& load,
                                                   ComputeType compute, Stager& stager,
                                                   const Allocate& allocate);

/// A weight of random numbers made on the device, a function of the seed alone: int4 with groups of
/// `group_size` (0: bf16), of a size that keeps unit variance through the layer.
std::shared_ptr<const CudaLinear> random_linear(int64_t out, int64_t in, int64_t group_size, uint64_t seed,
                                                const Allocate& allocate, cudaStream_t stream);
std::shared_ptr<const CudaExperts> random_experts(int64_t count, int64_t hidden, int64_t intermediate,
                                                  int64_t group_size, uint64_t seed, const Allocate& allocate,
                                                  cudaStream_t stream);

}  // namespace sheaf::cuda
