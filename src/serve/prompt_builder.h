// PromptBuilder: a request's messages through the chat template and the tokenizer, or its raw prompts through
// the tokenizer, within the context. Used by GenerationService and the tokenize endpoint. Must not know HTTP
// or the engine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "processor/prompt.h"
#include "serve/generation_request.h"
#include "serve/special_text.h"

namespace sheaf {

struct ServedModel;

struct BuiltPrompt {
    Prompt prompt;
    bool starts_in_reasoning = false;  // the prompt ends inside <think>
};

class PromptBuilder {
  public:
    explicit PromptBuilder(std::shared_ptr<const ServedModel> model);

    /// The text that the model will read. Errors: RequestError (media, which this build does not have), Error
    /// (what the normalisation or the template refuses).
    std::string render(const GenerationRequest& request) const;

    /// One prompt for messages, else as many as `request.prompts`. Errors: as above, and RequestError
    /// "maximum context length" when a prompt leaves no room for an answer in `context_length`, found before
    /// all of its tokens are made.
    std::vector<BuiltPrompt> build(const GenerationRequest& request, int32_t context_length) const;

  private:
    std::string render_marked(const GenerationRequest& request) const;
    std::vector<int32_t> encode(const GenerationRequest& request, const MarkedText& marked,
                                int32_t context_length) const;

    std::shared_ptr<const ServedModel> model_;
    SpecialText special_;
};

}  // namespace sheaf
