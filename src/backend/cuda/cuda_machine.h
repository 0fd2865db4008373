// The CUDA machine, as the registry sees it: includes no CUDA header, so that a build without nvcc can put
// absent/cuda_absent.cpp in its place. Must not know the model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/machine.h"

namespace sheaf::cuda {

/// Whether a GPU of this machine can run this build; if not, `reason` (optional) says why.
bool is_usable(std::string* reason = nullptr);

/// One line per GPU: "cuda:0: NVIDIA H200, 139.8 GiB, compute capability 9.0"; empty where there is none.
std::vector<std::string> describe_devices();

/// GPU `index`. deterministic: fixes, for the whole process, the kernels whose results for a sequence do not
/// depend on the batch. Errors: unsupported, saying what is missing: the back end in this build, a driver, a
/// new enough driver, a GPU, one of that number, kernels for its architecture.
std::unique_ptr<Machine> make_cuda_machine(int index, ComputeType compute, bool deterministic = false);

}  // namespace sheaf::cuda
