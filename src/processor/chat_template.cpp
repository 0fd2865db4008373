#include "processor/chat_template.h"

#include <fstream>
#include <iterator>

#include "base/error.h"
#include "processor/jinja/template.h"

namespace sheaf {

namespace {

using nlohmann::ordered_json;

constexpr std::size_t kLargestFile = std::size_t{64} << 20;

/// The file's text, or nothing where there is no such file.
std::optional<std::string> read_file(const std::filesystem::path& path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
    if (std::filesystem::file_size(path, error) > kLargestFile)
        fail(ErrorKind::corrupt_file, "{} is too large", path.filename().string());
    std::ifstream file(path, std::ios::binary);
    if (!file) fail(ErrorKind::io, "{} cannot be read", path.filename().string());
    return std::string(std::istreambuf_iterator<char>(file), {});
}

std::optional<ordered_json> read_json(const std::filesystem::path& path) {
    const auto text = read_file(path);
    if (!text) return std::nullopt;
    ordered_json json = ordered_json::parse(*text, nullptr, false);
    if (!json.is_object()) fail(ErrorKind::corrupt_file, "{} is not a JSON object", path.filename().string());
    return json;
}

/// bos_token and the like: text, or an added token with its text in `content`.
ordered_json special_tokens(const ordered_json& config) {
    ordered_json out = ordered_json::object();
    for (const char* name :
         {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
        const auto found = config.find(name);
        if (found == config.end()) continue;
        if (found->is_string()) out[name] = *found;
        if (found->is_object() && found->contains("content") && (*found)["content"].is_string())
            out[name] = (*found)["content"];
    }
    return out;
}

struct Sources {
    std::optional<std::string> main;
    std::optional<std::string> tools;
};

/// The chat_template member of a configuration: text, or a list of named templates.
Sources sources_in(const ordered_json& config, const std::string& file) {
    Sources out;
    const auto found = config.find("chat_template");
    if (found == config.end() || found->is_null()) return out;
    if (found->is_string()) {
        out.main = found->get<std::string>();
        return out;
    }
    if (!found->is_array())
        fail(ErrorKind::corrupt_file, "{}: chat_template is neither text nor a list", file);
    for (const ordered_json& entry : *found) {
        const bool valid = entry.is_object() && entry.contains("name") && entry["name"].is_string() &&
                           entry.contains("template") && entry["template"].is_string();
        if (!valid)
            fail(ErrorKind::corrupt_file, "{}: an entry of chat_template has no name or no template", file);
        const std::string name = entry["name"].get<std::string>();
        if (name == "default") out.main = entry["template"].get<std::string>();
        if (name == "tool_use") out.tools = entry["template"].get<std::string>();
    }
    if (!out.main) fail(ErrorKind::corrupt_file, "{}: chat_template has no entry named default", file);
    return out;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, ordered_json special_tokens)
    : source_(std::move(source)),
      special_tokens_(std::move(special_tokens)),
      program_(std::make_shared<const jinja::Template>(source_)) {}

ChatTemplate ChatTemplate::load(const std::filesystem::path& folder) {
    const auto config = read_json(folder / "tokenizer_config.json");
    Sources sources;
    std::string file = "chat_template.jinja";
    sources.main = read_file(folder / file);
    if (!sources.main) {
        file = "chat_template.json";
        if (const auto json = read_json(folder / file)) sources = sources_in(*json, file);
    }
    if (!sources.main && config) {
        file = "tokenizer_config.json";
        sources = sources_in(*config, file);
    }
    if (!sources.main)
        fail(ErrorKind::not_found,
             "the model folder has no chat template (chat_template.jinja, or chat_template in "
             "tokenizer_config.json)");
    try {
        ChatTemplate out(std::move(*sources.main), config ? special_tokens(*config) : ordered_json::object());
        if (sources.tools) out.tool_program_ = std::make_shared<const jinja::Template>(*sources.tools);
        return out;
    } catch (Error& error) {
        throw Error(ErrorKind::corrupt_file, error.at(file).what());
    }
}

std::string ChatTemplate::render(const ordered_json& messages, const ordered_json& tools,
                                 bool add_generation_prompt, const ordered_json& kwargs) const {
    if (!messages.is_array()) fail(ErrorKind::invalid_input, "messages must be a list");
    if (!tools.is_array() && !tools.is_null()) fail(ErrorKind::invalid_input, "tools must be a list");
    if (!kwargs.is_object() && !kwargs.is_null())
        fail(ErrorKind::invalid_input, "chat_template_kwargs must be an object");
    ordered_json variables = ordered_json::object();
    variables["documents"] = nullptr;
    for (const ordered_json* source : {&special_tokens_, &kwargs})
        for (const auto& [name, value] : source->items()) variables[name] = value;
    for (const char* name : {"messages", "tools", "add_generation_prompt"})
        if (variables.contains(name))
            fail(ErrorKind::invalid_input,
                 "chat_template_kwargs must not contain '{}': it is a field of its own", name);
    const bool with_tools = tools.is_array() && tool_program_ != nullptr;
    variables["add_generation_prompt"] = add_generation_prompt;
    variables["messages"] = messages;
    variables["tools"] = tools;
    return (with_tools ? *tool_program_ : *program_).render(variables);
}

}  // namespace sheaf
