// Model: a configuration with its weights resident on a machine. What the loader returns and engine, score
// and the compressors run. Must not know requests or text.
#pragma once

#include <vector>

#include "model/config.h"
#include "model/text_model.h"
#include "tensor/buffer.h"

namespace sheaf {

class Model {
  public:
    ModelConfig config;
    TextModel text;

    /// Resident bytes of all weights.
    uint64_t weight_bytes = 0;
    /// Memory behind the tensors of `text` that no prepared weight owns.
    std::vector<Buffer> storage;
};

}  // namespace sheaf
