// Reads JSON that strangers wrote: bounded in depth and size, strict about duplicate keys, in time linear in
// the text. Used by the request readers. Must not know what the JSON means.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace sheaf {

struct JsonLimits {
    size_t depth = 64;
    size_t nodes = 1'000'000;
};

/// The value of `text`, members in the order of the text. Errors: invalid_input (not JSON, not UTF-8, too
/// deep, too many values, a key twice in one object).
nlohmann::ordered_json parse_json(std::string_view text, const JsonLimits& limits = {});

/// JSON text; bytes that are not UTF-8 become U+FFFD.
std::string dump_json(const nlohmann::ordered_json& value);

}  // namespace sheaf
