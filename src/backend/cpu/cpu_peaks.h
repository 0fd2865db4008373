// What the machine can do at most, measured: the denominators of every percentage that `sheaf bench` prints.
// Used by CpuMachine. Must not know what is compared with them.
#pragma once

#include "backend/cpu/kernels.h"
#include "base/thread_pool.h"
#include "ops/machine.h"

namespace sheaf::cpu {

/// Takes about half a second: reads of a buffer beyond the caches and fma from registers, on all threads of
/// the pool; the best of several runs.
MachinePeaks measure_peaks(const Kernels& kernels, ThreadPool& pool);

}  // namespace sheaf::cpu
