// What a model's caches are kept in, where the options say so. Plain data for the engine's options, the cache
// pool and the arithmetic of memory.
#pragma once

#include <optional>

#include "tensor/dtype.h"

namespace sheaf {

/// keys_values: f8_e4m3 with scale 1, or none for what the compute type stands for; recurrent: bf16, or none
/// for f32. The convolution's state is f32 always.
struct CacheDTypes {
    std::optional<DType> keys_values{}, recurrent{};
};

}  // namespace sheaf
