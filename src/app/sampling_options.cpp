#include "app/sampling_options.h"

namespace sheaf {

nlohmann::ordered_json with_sampling_options(nlohmann::ordered_json request, const Options& options,
                                             uint64_t index) {
    auto fill = [&](const char* field, const nlohmann::ordered_json& value) {
        if (!value.is_null() && !request.contains(field)) request[field] = value;
    };
    auto integer = [&](const char* flag, const char* field) {
        if (const auto value = options.maybe_integer(flag)) fill(field, *value);
    };
    auto number = [&](const char* flag, const char* field) {
        if (const auto value = options.maybe_number(flag)) fill(field, *value);
    };
    if (!request.contains("max_completion_tokens")) integer("max-tokens", "max_tokens");
    integer("top-k", "top_k");
    number("temperature", "temperature");
    number("top-p", "top_p");
    number("min-p", "min_p");
    number("presence-penalty", "presence_penalty");
    number("frequency-penalty", "frequency_penalty");
    number("repetition-penalty", "repetition_penalty");
    if (options.given("stop")) fill("stop", options.texts("stop"));
    if (options.flag("ignore-eos")) fill("ignore_eos", true);
    fill("seed", options.integer("seed") + static_cast<int64_t>(index));
    return request;
}

}  // namespace sheaf
