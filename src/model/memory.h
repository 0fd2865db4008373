// How much memory the caches of a model take: the arithmetic behind plan, inspect and the engine's split.
// Must not know machines.
#pragma once

#include <cstdint>

#include "model/cache_dtypes.h"
#include "model/config.h"
#include "ops/machine.h"

namespace sheaf {

DType keys_values_dtype(const CacheDTypes& dtypes, ComputeType type);
DType recurrent_dtype(const CacheDTypes& dtypes);

/// Keys and values of one token over all full-attention layers.
uint64_t kv_bytes_per_token(const TextConfig& config, ComputeType type, const CacheDTypes& dtypes = {});
/// Recurrent and convolution state of one sequence over all linear-attention layers.
uint64_t state_bytes_per_sequence(const TextConfig& config, const CacheDTypes& dtypes = {});

}  // namespace sheaf
