// Sampling flags (--temperature, --max-tokens ...) as the fields of a request that they stand for. Used by
// generate and chat. Must not know what the fields do.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "app/options.h"

namespace sheaf {

/// `request` with every flag that was given filled in where the request does not say itself. `index` numbers
/// the requests of a run: each gets a seed of its own, --seed + index.
nlohmann::ordered_json with_sampling_options(nlohmann::ordered_json request, const Options& options,
                                             uint64_t index);

}  // namespace sheaf
