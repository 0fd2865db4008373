// The CPU as a Machine: host memory, a thread pool, and weights packed for the vector kernels of the best
// instruction set. Created by backend/registry; tests create one for each instruction set. Must not know the
// model or requests.
#pragma once

#include <memory>

#include "backend/cpu/isa.h"
#include "ops/machine.h"

namespace sheaf::cpu {

/// threads: 0 means all hardware threads. Error(unsupported) when this processor lacks `isa`.
std::unique_ptr<Machine> make_cpu_machine(ComputeType compute, int threads = 0, Isa isa = best_isa());

}  // namespace sheaf::cpu
