// POST /tokenize and /detokenize, in vLLM's shapes.
#include "processor/tokenizer.h"
#include "serve/answer_sink.h"
#include "serve/json_reader.h"
#include "serve/request_error.h"
#include "serve/request_fields.h"
#include "serve/server_state.h"

namespace sheaf {

namespace {

using Json = nlohmann::ordered_json;

// A tokenised text may be longer than the context; the body's size bounds it.
constexpr int32_t any_length = 1 << 30;

void answer_with(GenerationService& service, std::shared_ptr<Exchange> exchange,
                 Json (*make)(const GenerationService&, const Json&)) {
    service.run([&service, exchange, make] {
        try {
            const RequestLimits& limits = service.context().limits;
            const Json body = parse_json(exchange->take_body(), {limits.json_depth, limits.json_nodes});
            if (!body.is_object()) refuse("", "the request must be a JSON object");
            if (const auto name = body.find("model"); name != body.end() && name->is_string())
                service.check_model_name(name->get<std::string>());
            exchange->reply(json_response(make(service, body)));
        } catch (...) {
            exchange->reply(failure_response(describe_failure(std::current_exception())));
        }
    });
}

bool flag(const Json& body, const char* name) {
    const auto found = body.find(name);
    if (found == body.end() || found->is_null()) return false;
    if (!found->is_boolean()) refuse(name, "{} must be true or false", name);
    return found->get<bool>();
}

Json tokenize(const GenerationService& service, const Json& body) {
    GenerationRequest request;
    if (body.contains("messages")) {
        request = read_chat_request(body, service.context());
    } else {
        const auto prompt = body.find("prompt");
        if (prompt == body.end()) refuse("prompt", "prompt or messages is missing");
        if (!prompt->is_string()) refuse("prompt", "prompt must be a string");
        request.prompts.emplace_back().text = prompt->get<std::string>();
    }
    std::vector<int32_t> ids;
    const bool nothing = !request.is_chat() && request.prompts.front().text.empty();
    if (!nothing) ids = service.prompts().build(request, any_length).front().prompt.token_ids;
    Json answer = {{"count", ids.size()}, {"max_model_len", service.max_model_len()}, {"tokens", ids}};
    answer["token_strs"] = nullptr;
    if (flag(body, "return_token_strs")) {
        Json names = Json::array();
        for (const int32_t id : ids) names.push_back(service.model().tokenizer->id_to_token(id));
        answer["token_strs"] = std::move(names);
    }
    return answer;
}

Json detokenize(const GenerationService& service, const Json& body) {
    const auto tokens = body.find("tokens");
    if (tokens == body.end()) refuse("tokens", "tokens is missing");
    const ReaderContext& context = service.context();
    const auto ids = fields::read_token_ids("tokens", *tokens, context, context.limits.json_nodes);
    return {{"prompt", service.model().tokenizer->decode(ids)}};
}

}  // namespace

void answer_tokenize(GenerationService& service, std::shared_ptr<Exchange> exchange) {
    answer_with(service, std::move(exchange), tokenize);
}

void answer_detokenize(GenerationService& service, std::shared_ptr<Exchange> exchange) {
    answer_with(service, std::move(exchange), detokenize);
}

}  // namespace sheaf
