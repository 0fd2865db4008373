#include "backend/registry.h"

#include "backend/cpu/cpu_machine.h"

namespace sheaf {

std::unique_ptr<Machine> make_machine(const std::string& device, ComputeType compute, int threads) {
    if (device == "auto" || device == "cpu") return cpu::make_cpu_machine(compute, threads);
    if (device == "cuda" || device.starts_with("cuda:"))
        fail(ErrorKind::unsupported, "--device {}: this build has no CUDA back end; use --device cpu",
             device);
    fail(ErrorKind::invalid_input, "--device '{}': use auto, cpu, cuda or cuda:N", device);
}

std::vector<std::string> list_devices() {
    return {"cpu: " + cpu::cpu_description()};
}

}  // namespace sheaf
