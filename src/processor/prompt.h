// Prompt: all that the engine learns of a request's input, and the only thing of the processor that it may
// see. Tokens, and for media their embeddings' place and positions. Must not know text, JSON or the engine.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace sheaf {

struct Prompt {
    std::vector<int32_t> token_ids;
    /// Temporal, height and width position of every token; empty when all three are 0, 1, 2, ... (text only).
    std::array<std::vector<int32_t>, 3> positions;
    /// Added to a token's index to get its position once the prompt is over (0 for text).
    int32_t rope_delta = 0;
};

}  // namespace sheaf
