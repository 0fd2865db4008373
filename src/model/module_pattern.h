// Matches module names against the patterns of quantization configs: plain names, and the small part of
// regular expressions that quantizers write (".", ".*", "\.", "^", "$"), searched anywhere in the name.
// Linear time per pattern; anything else in a pattern is taken literally. Used where config.json's exclusions
// are needed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sheaf {

bool matches_module(std::string_view pattern, std::string_view module);
/// Any of the patterns; "re:" in front, as compressed-tensors writes it, is dropped.
bool matches_any_module(const std::vector<std::string>& patterns, std::string_view module);

}  // namespace sheaf
