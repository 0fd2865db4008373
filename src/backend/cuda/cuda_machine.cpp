#include "backend/cuda/cuda_machine.h"

#include "backend/cuda/devices.h"

namespace sheaf::cuda {

std::unique_ptr<Machine> make_cuda_machine(int index, ComputeType) {
    const DeviceInfo info = device_info(index);
    fail(ErrorKind::unsupported, "{} is there, but this build has no operators for it yet", info.name);
}

}  // namespace sheaf::cuda
