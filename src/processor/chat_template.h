// A model's chat template: messages, tools and switches in, the text of the prompt out. The text is
// byte-equal to what Hugging Face's apply_chat_template gives. Used by the server, `sheaf generate` and
// `sheaf prompt`. It must not know tokens, media or HTTP; it never runs anything but the template's own
// dialect of Jinja (processor/jinja), within a budget of steps, depth, memory and output. One object may
// render from several threads at once.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace sheaf {

namespace jinja {
class Template;
}

class ChatTemplate {
  public:
    /// `source`: Jinja text in UTF-8. `special_tokens`: an object such as {"bos_token": "<s>"}; its members
    /// are variables of every rendering unless kwargs say otherwise. Errors: invalid_input, with the line
    /// number.
    explicit ChatTemplate(std::string source,
                          nlohmann::ordered_json special_tokens = nlohmann::ordered_json::object());

    /// From a checkpoint folder: chat_template.jinja, else chat_template.json, else tokenizer_config.json's
    /// `chat_template` (text, or a list of {name, template}: `default`, and `tool_use` where tools are
    /// given). The special tokens come from tokenizer_config.json. Errors: not_found when the folder has no
    /// template, corrupt_file when it has a bad one.
    static ChatTemplate load(const std::filesystem::path& folder);

    /// `messages`: array; `tools`: array or null; `kwargs`: object or null whose members become variables
    /// (enable_thinking, add_vision_id, ...) and must not be called messages, tools or add_generation_prompt.
    /// Errors: invalid_input; for raise_exception with the template's own text, cut at 200 bytes.
    std::string render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                       bool add_generation_prompt, const nlohmann::ordered_json& kwargs) const;

    /// The text that this template was made from (the default one where a folder has several).
    const std::string& source() const { return source_; }

  private:
    std::string source_;
    nlohmann::ordered_json special_tokens_;
    std::shared_ptr<const jinja::Template> program_;
    std::shared_ptr<const jinja::Template> tool_program_;  // null: program_ serves tools too
};

}  // namespace sheaf
