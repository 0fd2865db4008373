#include "processor/messages.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sheaf {

namespace {

using nlohmann::ordered_json;

constexpr std::size_t kQuoted = 64;          // bytes of input that an error repeats
constexpr int kArgumentsDepth = 64;          // nesting of a tool call's arguments
constexpr std::string_view kBlank = "\n\n";  // between merged system messages

[[noreturn]] void bad(const std::string& field, std::string_view problem) {
    fail(ErrorKind::invalid_input, "{} {}", field, problem);
}

const ordered_json* member(const ordered_json& object, const char* name) {
    const auto found = object.find(name);
    return found == object.end() || found->is_null() ? nullptr : &*found;
}

/// A member that is text or absent.
std::optional<std::string> text_member(const ordered_json& object, const char* name,
                                       const std::string& field) {
    const ordered_json* found = member(object, name);
    if (found == nullptr) return std::nullopt;
    if (!found->is_string()) bad(fmt::format("{}.{}", field, name), "must be text");
    return found->get<std::string>();
}

std::string quoted(const std::string& text) {
    std::size_t size = std::min(text.size(), kQuoted);
    while (size < text.size() && size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
    return fmt::format("'{}'", std::string_view(text).substr(0, size));
}

/// Text in pieces and media between them.
class Content {
  public:
    void text(std::string_view piece) {
        if (parts_.empty() || !parts_.back().contains("text")) {
            parts_.push_back({{"type", "text"}, {"text", ""}});
        }
        parts_.back()["text"].get_ref<std::string&>() += piece;
    }

    void media(ordered_json part) {
        parts_.push_back(std::move(part));
        has_media_ = true;
    }

    void append(const Content& other) {
        for (const ordered_json& part : other.parts_) {
            if (part.contains("text")) {
                text(part["text"].get_ref<const std::string&>());
            } else {
                media(part);
            }
        }
    }

    bool empty() const {
        return parts_.empty() || (!has_media_ && parts_[0]["text"].get_ref<const std::string&>().empty());
    }

    /// One text, or a list of parts where there are media.
    ordered_json json() const {
        if (has_media_) return ordered_json(parts_);
        return parts_.empty() ? ordered_json("") : parts_[0]["text"];
    }

  private:
    std::vector<ordered_json> parts_;
    bool has_media_ = false;
};

/// What a message's content says besides text and media.
struct ReadContent {
    Content content;
    std::optional<std::string> thinking;
};

enum class PartKind { text, refusal, image, video, thinking, hidden_thinking, unsupported, unknown };

PartKind kind_of(const ordered_json& part, const std::string& type) {
    struct Named {
        std::string_view type;
        PartKind kind;
    };
    static constexpr Named kKinds[] = {
        {"text", PartKind::text},
        {"input_text", PartKind::text},
        {"output_text", PartKind::text},
        {"refusal", PartKind::refusal},
        {"image_url", PartKind::image},
        {"image", PartKind::image},
        {"input_image", PartKind::image},
        {"video_url", PartKind::video},
        {"video", PartKind::video},
        {"input_video", PartKind::video},
        {"thinking", PartKind::thinking},
        {"reasoning", PartKind::thinking},
        {"redacted_thinking", PartKind::hidden_thinking},
        {"input_audio", PartKind::unsupported},
        {"audio", PartKind::unsupported},
        {"audio_url", PartKind::unsupported},
        {"file", PartKind::unsupported},
        {"input_file", PartKind::unsupported},
    };
    for (const Named& named : kKinds)
        if (type == named.type) return named.kind;
    if (!type.empty()) return PartKind::unknown;
    if (part.contains("text")) return PartKind::text;
    if (part.contains("image_url") || part.contains("image")) return PartKind::image;
    if (part.contains("video_url") || part.contains("video")) return PartKind::video;
    return PartKind::unknown;
}

/// Anthropic's {"type": "base64", "media_type", "data"} or {"type": "url", "url"}.
ordered_json source_url(const ordered_json& source, const std::string& field) {
    if (!source.is_object()) bad(field, "must be an object");
    if (const auto url = text_member(source, "url", field)) return *url;
    const auto media_type = text_member(source, "media_type", field);
    const auto data = text_member(source, "data", field);
    if (!media_type || !data) bad(field, "must have a url, or media_type and data");
    return fmt::format("data:{};base64,{}", *media_type, *data);
}

bool is_list_of_text(const ordered_json& value) {
    if (!value.is_array() || value.empty()) return false;
    for (const ordered_json& item : value)
        if (!item.is_string()) return false;
    return true;
}

/// The URL of a media part, in any of the forms in use: {"image_url": {"url"}}, {"image_url": URL}, {"image":
/// URL} ...
ordered_json media_url(const ordered_json& part, std::initializer_list<const char*> names, bool is_video,
                       const std::string& field) {
    for (const char* name : names) {
        const ordered_json* found = member(part, name);
        if (found == nullptr) continue;
        const std::string where = fmt::format("{}.{}", field, name);
        if (found->is_string()) return *found;
        if (is_video && is_list_of_text(*found)) return *found;
        if (!found->is_object()) bad(where, "must be a URL or an object with one");
        if (std::string_view(name) == "source") return source_url(*found, where);
        if (const ordered_json* url = member(*found, "url"))
            if (url->is_string() || (is_video && is_list_of_text(*url))) return *url;
        bad(where + ".url", "must be text");
    }
    if (member(part, "uuid") != nullptr) return nullptr;  // known from an earlier turn
    bad(field, "has no URL");
}

ordered_json media_part(const ordered_json& part, bool is_video, const std::string& field) {
    const char* name = is_video ? "video" : "image";
    ordered_json out = {{"type", name}};
    out[name] = is_video ? media_url(part, {"video_url", "video", "input_video", "source"}, true, field)
                         : media_url(part, {"image_url", "image", "source"}, false, field);
    static constexpr std::string_view kTaken[] = {"type",  "image_url", "image",       "video_url",
                                                  "video", "source",    "input_video", "cache_control"};
    for (const auto& [key, value] : part.items())
        if (std::find(std::begin(kTaken), std::end(kTaken), key) == std::end(kTaken)) out[key] = value;
    // OpenAI puts the resolution beside the URL.
    for (const char* outer : {"image_url", "video_url"})
        if (const ordered_json* holder = member(part, outer); holder != nullptr && holder->is_object())
            if (const ordered_json* detail = member(*holder, "detail")) out["detail"] = *detail;
    return out;
}

void read_part(const ordered_json& part, bool is_assistant, const std::string& field, ReadContent& out) {
    if (part.is_string()) {
        out.content.text(part.get_ref<const std::string&>());
        return;
    }
    if (!part.is_object()) bad(field, "must be an object");
    const std::string type = text_member(part, "type", field).value_or("");
    const auto required = [&](const char* name) {
        auto text = text_member(part, name, field);
        if (!text) bad(fmt::format("{}.{}", field, name), "is missing");
        return *text;
    };
    switch (kind_of(part, type)) {
        case PartKind::text:
            out.content.text(required("text"));
            return;
        case PartKind::refusal:
            out.content.text(required("refusal"));
            return;
        case PartKind::image:
            out.content.media(media_part(part, false, field));
            return;
        case PartKind::video:
            out.content.media(media_part(part, true, field));
            return;
        case PartKind::hidden_thinking:
            if (is_assistant) return;
            break;
        case PartKind::thinking:
            if (!is_assistant) break;
            if (!out.thinking) out.thinking.emplace();
            *out.thinking += type == "thinking" ? required("thinking") : required("text");
            return;
        case PartKind::unsupported:
            fail(ErrorKind::unsupported, "{}.type: {} is not supported: text, images and videos are", field,
                 quoted(type));
        case PartKind::unknown:
            break;
    }
    if (type.empty()) bad(field + ".type", "is missing");
    bad(field + ".type", fmt::format("must be text, image_url or video_url, not {}", quoted(type)));
}

ReadContent read_content(const ordered_json& message, bool is_assistant, const std::string& field) {
    ReadContent out;
    const ordered_json* content = member(message, "content");
    if (content == nullptr) return out;
    if (content->is_string()) {
        out.content.text(content->get_ref<const std::string&>());
    } else if (content->is_array()) {
        for (std::size_t i = 0; i < content->size(); ++i)
            read_part((*content)[i], is_assistant, fmt::format("{}.content[{}]", field, i), out);
    } else {
        bad(field + ".content", "must be text or a list of parts");
    }
    return out;
}

/// JSON text of an object; nothing for any other text.
std::optional<ordered_json> parse_arguments(const std::string& text) {
    bool too_deep = false;
    const auto watch = [&](int depth, ordered_json::parse_event_t, ordered_json&) {
        too_deep = too_deep || depth > kArgumentsDepth;
        return !too_deep;
    };
    ordered_json parsed = ordered_json::parse(text, watch, false);
    if (too_deep || parsed.is_discarded()) return std::nullopt;
    if (parsed.is_null()) return ordered_json::object();
    return parsed.is_object() ? std::optional(std::move(parsed)) : std::nullopt;
}

ordered_json normalized_arguments(const ordered_json& given, const std::string& field) {
    if (given.is_null()) return ordered_json::object();
    if (given.is_object()) return given;
    if (!given.is_string()) bad(field, "must be JSON text or an object");
    const auto& text = given.get_ref<const std::string&>();
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) return ordered_json::object();
    return parse_arguments(text).value_or(given);
}

ordered_json normalized_function(const ordered_json& function, const std::string& field) {
    if (!function.is_object()) bad(field, "must be an object");
    const auto name = text_member(function, "name", field);
    if (!name) bad(field + ".name", "is missing");
    ordered_json out = {{"name", *name}};
    const auto arguments = function.find("arguments");
    out["arguments"] = arguments == function.end() ? ordered_json::object()
                                                   : normalized_arguments(*arguments, field + ".arguments");
    for (const auto& [key, value] : function.items())
        if (key != "name" && key != "arguments") out[key] = value;
    return out;
}

ordered_json normalized_calls(const ordered_json& calls, const std::string& field) {
    if (!calls.is_array()) bad(field, "must be a list");
    ordered_json out = ordered_json::array();
    for (std::size_t i = 0; i < calls.size(); ++i) {
        const ordered_json& call = calls[i];
        const std::string where = fmt::format("{}[{}]", field, i);
        if (!call.is_object()) bad(where, "must be an object");
        ordered_json entry = ordered_json::object();
        const bool is_flat = !call.contains("function");
        for (const auto& [key, value] : call.items())
            if (key != "function" && !(is_flat && (key == "name" || key == "arguments"))) entry[key] = value;
        if (!entry.contains("type")) entry["type"] = "function";
        entry["function"] =
            is_flat ? normalized_function({{"name", call.value("name", ordered_json())},
                                           {"arguments", call.value("arguments", ordered_json())}},
                                          where)
                    : normalized_function(call["function"], where + ".function");
        out.push_back(std::move(entry));
    }
    return out;
}

/// The members of an assistant's message that say more than content.
void add_assistant_members(const ordered_json& message, const std::string& field, ReadContent& read,
                           ordered_json& out) {
    auto reasoning = text_member(message, "reasoning_content", field);
    if (!reasoning) reasoning = text_member(message, "reasoning", field);
    if (!reasoning) reasoning = std::move(read.thinking);
    if (reasoning) out["reasoning_content"] = *reasoning;

    ordered_json calls = ordered_json::array();
    if (const ordered_json* given = member(message, "tool_calls"))
        calls = normalized_calls(*given, field + ".tool_calls");
    if (const ordered_json* single = member(message, "function_call"); single != nullptr && calls.empty())
        calls.push_back(
            {{"type", "function"}, {"function", normalized_function(*single, field + ".function_call")}});
    if (!calls.empty()) out["tool_calls"] = std::move(calls);
}

std::string role_of(const ordered_json& message, const std::string& field) {
    const auto role = text_member(message, "role", field);
    if (!role) bad(field + ".role", "is missing");
    if (*role == "developer") return "system";
    return *role == "function" ? "tool" : *role;
}

}  // namespace

ordered_json normalize_messages(const ordered_json& messages) {
    if (!messages.is_array()) bad("messages", "must be a list");
    if (messages.empty()) bad("messages", "must not be empty");
    Content system;
    bool has_system = false;
    ordered_json others = ordered_json::array();
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const ordered_json& message = messages[i];
        const std::string field = fmt::format("messages[{}]", i);
        if (!message.is_object()) bad(field, "must be an object");
        const std::string role = role_of(message, field);
        const bool is_assistant = role == "assistant";
        ReadContent read = read_content(message, is_assistant, field);
        if (role == "system") {
            if (!system.empty() && !read.content.empty()) system.text(kBlank);
            system.append(read.content);
            has_system = true;
            continue;
        }
        ordered_json out = {{"role", role}, {"content", read.content.json()}};
        if (is_assistant) add_assistant_members(message, field, read, out);
        static constexpr std::string_view kTaken[] = {"role",         "content",    "reasoning_content",
                                                      "reasoning",    "tool_calls", "function_call",
                                                      "cache_control"};
        for (const auto& [key, value] : message.items())
            if (std::find(std::begin(kTaken), std::end(kTaken), key) == std::end(kTaken)) out[key] = value;
        others.push_back(std::move(out));
    }
    if (!has_system) return others;
    ordered_json out = ordered_json::array({ordered_json{{"role", "system"}, {"content", system.json()}}});
    for (ordered_json& message : others) out.push_back(std::move(message));
    return out;
}

}  // namespace sheaf
