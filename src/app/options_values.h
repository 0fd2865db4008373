// Words of the command line turned into numbers, switches and JSON. Used by the option parser alone; must not
// know which options exist.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::option_values {

/// true/false, 1/0, yes/no, on/off in any case.
std::optional<bool> read_flag(std::string_view word);
std::optional<int64_t> read_integer(std::string_view word);
/// Finite, decimal.
std::optional<double> read_number(std::string_view word);
/// Tokens as vLLM spells them: 4096; 1k = 1000, 25.6k; 1K = 1024, no decimals; m g t, M G T; auto and -1 are
/// -1.
std::optional<int64_t> read_size(std::string_view word);
/// Bytes: a number with nothing, B, K, KiB (1024), KB (1000) and so on up to T; decimals allowed.
std::optional<int64_t> read_bytes(std::string_view word);
/// A JSON object or array; null when the text is none.
std::optional<nlohmann::ordered_json> read_json(std::string_view word);

/// Puts `word` (JSON where it reads as JSON, else text) at the dotted `path` of `object`, making objects on
/// the way. False when a part of the path is no object, or the path is deeper than 16.
bool set_member(nlohmann::ordered_json& object, std::string_view path, const std::string& word);

std::vector<std::string_view> split(std::string_view text, char separator);
std::string lower(std::string_view text);

}  // namespace sheaf::option_values
