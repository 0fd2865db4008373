// Registry: the machines this program can run on, by the name that --device takes. The only header of
// backend/ that app, benches and whole-model tests need. Must not know the model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/machine.h"

namespace sheaf {

/// device: "auto" (the best there is), "cpu", "cuda" or "cuda:N". threads: for the CPU, 0 means all.
/// Errors: invalid_input for another name; unsupported when this build or machine has no such device.
std::unique_ptr<Machine> make_machine(const std::string& device, ComputeType compute, int threads = 0);

/// One line per device found: "cpu: AMD EPYC ..., 2 threads, avx512".
std::vector<std::string> list_devices();

}  // namespace sheaf
