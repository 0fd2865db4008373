#include "app/text_side.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "processor/chat_template.h"
#include "processor/tokenizer.h"
#include "serve/json_reader.h"
#include "serve/served_model.h"

namespace sheaf {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

std::shared_ptr<const ChatTemplate> load_template(const fs::path& folder, const Options& options) {
    if (options.has("chat-template") && options.given("chat-template")) {
        const std::string file = options.text("chat-template");
        try {
            return std::make_shared<ChatTemplate>(read_text_file(file, 1 << 20));
        } catch (Error& e) {
            throw e.at("--chat-template");
        }
    }
    try {
        return std::make_shared<ChatTemplate>(ChatTemplate::load(folder));
    } catch (const Error& e) {
        if (e.kind() != ErrorKind::not_found) throw;
        log::warn("{}: no chat template; messages are refused, prompts and token ids work", folder.string());
        return nullptr;
    }
}

Tokenizer load_tokenizer(const fs::path& folder) {
    if (fs::exists(folder / "tokenizer.json")) return Tokenizer::load(folder);
    log::warn("{}: no tokenizer.json; only token_ids can be given, and there is no text in the answers",
              folder.string());
    return Tokenizer::none();
}

GenerationDefaults read_defaults(const fs::path& folder, const Options& options) {
    Json config = Json::object();
    const fs::path file = folder / "generation_config.json";
    const bool wanted = !options.has("generation-config") || options.text("generation-config") == "auto";
    if (wanted && fs::exists(file)) {
        try {
            config = parse_json(read_text_file(file, 1 << 20));
        } catch (Error& e) {
            throw e.at(file.string());
        }
        if (!config.is_object()) fail(ErrorKind::corrupt_file, "{}: is not a JSON object", file.string());
    }
    if (options.has("override-generation-config"))
        if (const Json more = options.json("override-generation-config"); more.is_object())
            config.update(more);
    GenerationDefaults defaults = GenerationDefaults::from_json(config);
    for (const char* name : {"default-chat-template-kwargs", "chat-template-kwargs"})
        if (options.has(name))
            if (const Json kwargs = options.json(name); kwargs.is_object())
                defaults.template_kwargs.update(kwargs);
    return defaults;
}

}  // namespace

std::shared_ptr<ServedModel> load_text_side(const Options& options) {
    fs::path folder = resolve_model(options.model(), options.text("revision"), process_environment());
    if (fs::is_regular_file(folder)) folder = folder.parent_path();  // a config.json, for random weights
    auto model = std::make_shared<ServedModel>();
    model->root = options.model();
    model->names = {options.model()};
    if (options.has("served-model-name") && options.given("served-model-name"))
        model->names = options.texts("served-model-name");
    model->accept_any_name = options.has("accept-any-model") && options.flag("accept-any-model");
    model->tokenizer = std::make_shared<Tokenizer>(load_tokenizer(folder));
    model->chat_template = load_template(folder, options);
    model->defaults = read_defaults(folder, options);
    if (options.has("max-logprobs"))
        model->limits.logprobs = static_cast<int32_t>(options.integer("max-logprobs"));
    if (options.has("reasoning-parser")) model->parse_reasoning = options.text("reasoning-parser") != "none";
    if (options.has("tool-call-parser")) model->parse_tools = options.text("tool-call-parser") != "none";
    return model;
}

}  // namespace sheaf
