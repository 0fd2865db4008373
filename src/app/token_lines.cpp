#include "app/token_lines.h"

#include <fmt/format.h>

#include <limits>
#include <optional>

#include "app/input_lines.h"
#include "app/text_side.h"
#include "base/error.h"
#include "processor/tokenizer.h"
#include "serve/prompt_builder.h"
#include "serve/request_reader.h"
#include "serve/served_model.h"

namespace sheaf {

namespace {

using Json = nlohmann::ordered_json;

std::vector<int32_t> plain_ids(const Json& list) {
    std::vector<int32_t> ids;
    if (!list.is_array() || list.empty())
        fail(ErrorKind::invalid_input, "token_ids: a list of token ids is due");
    for (const Json& item : list) {
        const auto* id = item.get_ptr<const Json::number_unsigned_t*>();
        if (!id || *id > static_cast<uint64_t>(std::numeric_limits<int32_t>::max()))
            fail(ErrorKind::invalid_input, "token_ids: {} is no token id", item.dump().substr(0, 64));
        ids.push_back(static_cast<int32_t>(*id));
    }
    return ids;
}

/// The tokenizer and the template, read when the first line needs them.
class TextLines {
  public:
    explicit TextLines(const Options& options) : options_(options) {}

    std::vector<int32_t> tokens(Json content) {
        if (!model_) {
            model_ = load_text_side(options_);
            builder_.emplace(model_);
        }
        if (content.contains("messages") && !content.contains("add_generation_prompt"))
            content["add_generation_prompt"] = false;
        const ReaderContext context{model_->defaults, model_->limits, model_->tokenizer->vocabulary_size()};
        return builder_->build(read_line_request(content, context), std::numeric_limits<int32_t>::max())
            .front()
            .prompt.token_ids;
    }

  private:
    const Options& options_;
    std::shared_ptr<ServedModel> model_;
    std::optional<PromptBuilder> builder_;
};

}  // namespace

std::vector<TokenLine> read_token_lines(const Options& options) {
    InputLines lines(options);
    TextLines text(options);
    std::vector<TokenLine> result;
    while (auto line = lines.next()) {
        if (!line->error.empty()) fail(ErrorKind::invalid_input, "{}", line->error);
        TokenLine& read = result.emplace_back();
        read.id = id_text(line->id);
        try {
            const bool ready = line->content.contains("token_ids");
            read.token_ids =
                ready ? plain_ids(line->content["token_ids"]) : text.tokens(std::move(line->content));
        } catch (Error& e) {
            throw e.at(fmt::format("line {}", read.id));
        }
    }
    if (result.empty()) fail(ErrorKind::invalid_input, "the input has no lines");
    return result;
}

}  // namespace sheaf
