#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "app/commands.h"
#include "app/input_lines.h"
#include "app/interrupt.h"
#include "app/output.h"
#include "app/text_side.h"
#include "base/error.h"
#include "processor/chat_template.h"
#include "processor/tokenizer.h"
#include "serve/prompt_builder.h"
#include "serve/request_reader.h"
#include "serve/served_model.h"

namespace sheaf {

namespace {

using Json = nlohmann::ordered_json;

/// What the template makes of a line, nothing changed before.
Json render_as_is(const ServedModel& model, const InputLine& line) {
    if (!model.chat_template) fail(ErrorKind::not_found, "the checkpoint has no chat template");
    const Json& content = line.content;
    auto member = [&](const char* name) { return content.contains(name) ? content[name] : Json(); };
    const bool generation =
        !content.contains("add_generation_prompt") || content["add_generation_prompt"] == true;
    Json kwargs = model.defaults.template_kwargs;
    if (const Json own = member("chat_template_kwargs"); own.is_object()) kwargs.update(own);
    return {{"id", line.id},
            {"text", model.chat_template->render(member("messages"), member("tools"), generation, kwargs)}};
}

Json positions(const Prompt& prompt) {
    Json axes = Json::array();
    for (const auto& axis : prompt.positions) {
        std::vector<int32_t> values = axis;
        if (values.empty()) {
            values.resize(prompt.token_ids.size());
            std::iota(values.begin(), values.end(), 0);
        }
        axes.push_back(std::move(values));
    }
    return axes;
}

Json describe(const ServedModel& model, const PromptBuilder& builder, const InputLine& line) {
    const int32_t known = model.tokenizer->vocabulary_size();  // none without a tokenizer: any id passes
    const ReaderContext context{model.defaults, model.limits,
                                known > 0 ? known : std::numeric_limits<int32_t>::max()};
    const GenerationRequest request = read_line_request(line.content, context);
    const BuiltPrompt built = std::move(builder.build(request, std::numeric_limits<int32_t>::max()).front());
    const std::vector<int32_t>& ids = built.prompt.token_ids;
    const bool tokens = !request.is_chat() && request.prompts.front().is_tokens;
    Json json = {{"id", line.id}};
    json["text"] = request.is_chat() ? builder.render(request)
                   : tokens          ? model.tokenizer->decode(ids)
                                     : request.prompts.front().text;
    if (tokens) json["text_skip_special"] = model.tokenizer->decode(ids, true);
    json["token_ids"] = ids;
    json["position_ids"] = positions(built.prompt);
    json["images"] = Json::array();
    json["videos"] = Json::array();
    return json;
}

}  // namespace

int run_prompt(const Options& options) {
    const auto model = load_text_side(options);
    const PromptBuilder builder(model);
    InputLines lines(options);
    while (const auto line = lines.next()) {
        check_interrupted();
        if (!line->error.empty()) {
            output::write_line(error_line(*line, line->error));
            continue;
        }
        try {
            output::write_line(options.flag("as-is") ? render_as_is(*model, *line)
                                                     : describe(*model, builder, *line));
        } catch (const Error& e) {
            output::write_line(error_line(*line, e.what()));
        }
    }
    return exit_done;
}

}  // namespace sheaf
