#include "serve/prompt_builder.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "processor/chat_template.h"
#include "processor/messages.h"
#include "processor/tokenizer.h"
#include "serve/request_error.h"
#include "serve/served_model.h"

namespace sheaf {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* spaces = " \n\r\t";

// vLLM's words: clients recognise a full context by them.
[[noreturn]] void refuse_length(bool chat, int32_t limit, const std::string& count) {
    refuse(
        chat ? "messages" : "prompt",
        "This model's maximum context length is {} tokens. However, your request has {} input tokens. Please "
        "reduce the length of the input {}.",
        limit, count, chat ? "messages" : "prompt");
}

// One generated token must have its place, unless none is wanted.
size_t room_for_prompt(const GenerationRequest& request, int32_t context_length) {
    return static_cast<size_t>(std::max(context_length - (request.max_tokens == 0 ? 0 : 1), 0));
}

bool ends_in_reasoning(std::string_view text, bool continues) {
    constexpr std::string_view open_tag = "<think>", close_tag = "</think>";
    if (!continues) {
        const size_t last = text.find_last_not_of(spaces);
        return last != std::string_view::npos && text.substr(0, last + 1).ends_with(open_tag);
    }
    // A final message that goes on: the block must have been opened in that message.
    const size_t open = text.rfind(open_tag);
    if (open == std::string_view::npos || text.find(close_tag, open) != std::string_view::npos) return false;
    const size_t turn = text.rfind("<|im_start|>");
    return turn == std::string_view::npos || open > turn;
}

void check_text_only(const Json& messages) {
    for (size_t i = 0; i < messages.size(); ++i) {
        const auto content = messages[i].find("content");
        if (content == messages[i].end() || !content->is_array()) continue;
        throw RequestError(ErrorKind::unsupported, fmt::format("messages[{}].content", i),
                           "this build serves text only: images and video are not supported yet");
    }
}

// The template closes the final turn; a message that goes on must stay open. Cuts the text right after the
// last occurrence of the final message's content, as Hugging Face does.
void reopen_final_message(std::string& text, const Json& messages) {
    const auto content = messages.back().find("content");
    std::string last;
    if (content != messages.back().end() && content->is_string()) last = content->get<std::string>();
    const size_t begin = last.find_first_not_of(spaces);
    if (begin == std::string::npos)
        refuse("continue_final_message", "continue_final_message needs a final message with text in it");
    last = last.substr(begin, last.find_last_not_of(spaces) + 1 - begin);
    const size_t found = text.rfind(last);
    if (found == std::string::npos)
        refuse("continue_final_message", "the chat template does not render the final message as it is");
    text.resize(found + last.size());
}

}  // namespace

PromptBuilder::PromptBuilder(std::shared_ptr<const ServedModel> model)
    : model_(std::move(model)), special_(*model_->tokenizer) {}

std::string PromptBuilder::render_marked(const GenerationRequest& request) const {
    if (!model_->chat_template)
        throw RequestError(ErrorKind::unsupported, "messages",
                           "this model has no chat template; use /v1/completions");
    Json messages = normalize_messages(request.messages);
    check_text_only(messages);
    Json tools = request.tools, kwargs = request.template_kwargs;
    special_.mark(messages);
    special_.mark(tools);
    special_.mark(kwargs);
    std::string text = model_->chat_template->render(messages, tools, request.add_generation_prompt, kwargs);
    if (request.continue_final_message) reopen_final_message(text, messages);
    return text;
}

std::string PromptBuilder::render(const GenerationRequest& request) const {
    return MarkedText(render_marked(request)).text;
}

std::vector<int32_t> PromptBuilder::encode(const GenerationRequest& request, const MarkedText& marked,
                                           int32_t context_length) const {
    const size_t most = room_for_prompt(request, context_length);
    if (request.truncate_prompt_tokens) return special_.encode(marked, model_->limits.json_nodes);
    // The length of the text alone may tell.
    const size_t least = marked.text.size() / std::max<size_t>(model_->tokenizer->max_bytes_per_token(), 1);
    if (least > most) refuse_length(request.is_chat(), context_length, fmt::format("at least {}", least));
    std::vector<int32_t> ids = special_.encode(marked, most);
    if (ids.size() > most)
        refuse_length(request.is_chat(), context_length, fmt::format("more than {}", most));
    return ids;
}

std::vector<BuiltPrompt> PromptBuilder::build(const GenerationRequest& request,
                                              int32_t context_length) const {
    std::vector<BuiltPrompt> built;
    if (request.is_chat()) {
        const MarkedText marked(render_marked(request));
        BuiltPrompt& one = built.emplace_back();
        one.starts_in_reasoning = ends_in_reasoning(marked.text, request.continue_final_message);
        one.prompt.token_ids = encode(request, marked, context_length);
    }
    for (const RawPrompt& raw : request.prompts) {
        BuiltPrompt& one = built.emplace_back();
        if (raw.is_tokens) {
            one.prompt.token_ids = raw.token_ids;
            const size_t tail = std::min<size_t>(raw.token_ids.size(), 8);
            one.starts_in_reasoning =
                ends_in_reasoning(model_->tokenizer->decode(std::span(raw.token_ids).last(tail)), false);
        } else {
            MarkedText marked{std::string()};
            marked.text = raw.text;
            one.starts_in_reasoning = ends_in_reasoning(raw.text, false);
            one.prompt.token_ids = encode(request, marked, context_length);
        }
    }
    for (BuiltPrompt& one : built) {
        std::vector<int32_t>& ids = one.prompt.token_ids;
        if (request.truncate_prompt_tokens) {
            const int32_t wanted = *request.truncate_prompt_tokens;
            const size_t keep =
                wanted < 0 ? room_for_prompt(request, context_length) : static_cast<size_t>(wanted);
            if (ids.size() > keep) ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(keep));
        }
        if (ids.size() > room_for_prompt(request, context_length))
            refuse_length(request.is_chat(), context_length, fmt::format("{}", ids.size()));
        if (ids.empty())
            refuse(request.is_chat() ? "messages" : "prompt", "the prompt is empty: it has no tokens");
    }
    return built;
}

}  // namespace sheaf
