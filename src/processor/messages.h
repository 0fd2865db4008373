// Chat messages as clients send them, brought to the one form that the templates of the Qwen family
// understand. Used between the request (or an input line) and ChatTemplate. It must not know tokens, HTTP or
// pixels: media stay URLs.
#pragma once

#include <nlohmann/json.hpp>

namespace sheaf {

/// OpenAI-form messages -> what Qwen3.5 templates need:
///  - `developer` becomes `system`; all system messages are merged, in order and with a blank line between
///  them, into
///    one at the front;
///  - `content` null or missing becomes ""; a list of text parts becomes one string (nothing between the
///  parts); a
///    list with media keeps {"type": "text", "text"}, {"type": "image", "image": URL} and
///    {"type": "video", "video": URL or list of frame URLs} parts, in order, with their other members;
///  - reasoning (`reasoning_content`, else `reasoning`, else thinking parts of the content) becomes
///  `reasoning_content`;
///  - tool call arguments given as JSON text become an object; text that is no JSON object stays text; an old
///    `function_call` becomes `tool_calls`, the role `function` becomes `tool`.
/// Everything else of a message is kept. Errors: invalid_input naming the field, as in "messages[2].content";
/// unsupported for audio and files.
nlohmann::ordered_json normalize_messages(const nlohmann::ordered_json& messages);

}  // namespace sheaf
