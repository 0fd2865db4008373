// Stands in for the CUDA back end in builds without nvcc.
#include "backend/cuda/cuda_machine.h"

namespace sheaf::cuda {

bool is_usable(std::string* reason) {
    if (reason) *reason = "this build has no CUDA back end (it was made without nvcc)";
    return false;
}

std::vector<std::string> describe_devices() {
    return {};
}

std::unique_ptr<Machine> make_cuda_machine(int, ComputeType, bool) {
    std::string reason;
    is_usable(&reason);
    fail(ErrorKind::unsupported, "{}; use --device cpu", reason);
}

}  // namespace sheaf::cuda
