// ServedModel: everything that answers requests for one model: its names, text processing, engine and
// defaults. Filled by the app once the model is loaded; shared by the server, `generate` and `chat`. Must not
// know HTTP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "serve/limits.h"
#include "serve/request_reader.h"

namespace sheaf {

class ChatTemplate;
class Engine;
class Tokenizer;

struct ServedModel {
    std::vector<std::string> names;  // at least one; the first is echoed in answers
    bool accept_any_name = false;
    std::string root;  // what the model was started from; shown by /v1/models

    std::shared_ptr<const Tokenizer> tokenizer;
    std::shared_ptr<const ChatTemplate> chat_template;  // null: chat requests are refused
    std::shared_ptr<Engine> engine;

    GenerationDefaults defaults;
    RequestLimits limits;
    bool parse_reasoning = true;  // split text before </think> from the answer
    bool parse_tools = true;      // turn tool calls in the text into tool_calls
};

}  // namespace sheaf
