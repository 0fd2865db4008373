#include "backend/registry.h"

#include <charconv>

#include "backend/cpu/cpu_machine.h"
#include "backend/cuda/cuda_machine.h"

namespace sheaf {
namespace {

std::unique_ptr<Machine> make_cuda(const MachineOptions& options) {
    const std::string& device = options.device;
    int index = 0;
    if (const std::string_view number = std::string_view(device).substr(4); !number.empty()) {
        const char *begin = number.data() + 1, *end = number.data() + number.size();
        const auto [stop, status] = std::from_chars(begin, end, index);
        if (status != std::errc{} || stop != end || index < 0)
            fail(ErrorKind::invalid_input, "--device '{}': the number of a GPU is expected after the colon",
                 device);
    }
    try {
        return cuda::make_cuda_machine(index, options.compute, options.deterministic);
    } catch (Error& error) {
        throw error.at("--device " + device);
    }
}

}  // namespace

std::unique_ptr<Machine> make_machine(const MachineOptions& options) {
    const std::string& device = options.device;
    if (device == "cuda" || device.starts_with("cuda:")) return make_cuda(options);
    if (device == "auto" && cuda::is_usable())
        return cuda::make_cuda_machine(0, options.compute, options.deterministic);
    if (device == "cpu" || device == "auto") return cpu::make_cpu_machine(options.compute, options.threads);
    fail(ErrorKind::invalid_input, "--device '{}': use auto, cpu, cuda or cuda:N", device);
}

std::vector<std::string> list_devices() {
    std::vector<std::string> lines{"cpu: " + cpu::cpu_description()};
    for (std::string& line : cuda::describe_devices()) lines.push_back(std::move(line));
    return lines;
}

}  // namespace sheaf
