// How much memory this process may use: the machine's, cut by the control groups it runs in. Used by the CPU
// machine. Must not know what the memory is for.
#pragma once

#include <cstddef>

namespace sheaf::cpu {

size_t total_memory_bytes();
size_t available_memory_bytes();

}  // namespace sheaf::cpu
