// Registry: the machines this program can run on, by the name that --device takes. The only header of
// backend/ that app, benches and whole-model tests need. Must not know the model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/machine.h"

namespace sheaf {

struct MachineOptions {
    std::string device = "auto";  // the best there is; or "cpu", "cuda", "cuda:N"
    ComputeType compute = ComputeType::bf16;
    int threads = 0;  // of the CPU; 0: all
    /// What is computed for a sequence is the same bits whatever else is in its steps. A CPU always works so;
    /// a GPU then keeps to kernels that do, in the whole process.
    bool deterministic = false;
};

/// Errors: invalid_input for another device; unsupported when this build or machine has no such device.
std::unique_ptr<Machine> make_machine(const MachineOptions& options);

/// One line per device found: "cpu: AMD EPYC ..., 2 threads, avx512".
std::vector<std::string> list_devices();

}  // namespace sheaf
