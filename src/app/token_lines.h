// Input lines turned into tokens, for the commands that need nothing else of them (score, compare). Lines
// with token_ids need no tokenizer. Must not know weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/options.h"

namespace sheaf {

struct TokenLine {
    std::string id;
    std::vector<int32_t> token_ids;
};

/// All lines of --input, or the one of --prompt. Messages are rendered without an opened answer unless the
/// line says otherwise. Errors: invalid_input naming the line.
std::vector<TokenLine> read_token_lines(const Options& options);

}  // namespace sheaf
