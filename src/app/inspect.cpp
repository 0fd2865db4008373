#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/model_source.h"
#include "app/output.h"
#include "model/footprint.h"

namespace sheaf {

namespace {

using Json = nlohmann::ordered_json;
using output::bytes_text;
using output::count_text;

Json describe_text(const ModelConfig& config) {
    const TextConfig& text = config.text;
    Json json = {{"vocab_size", text.vocab_size},
                 {"hidden_size", text.hidden_size},
                 {"layers", text.num_hidden_layers},
                 {"linear_attention_layers", text.count(LayerKind::linear_attention)},
                 {"full_attention_layers", text.count(LayerKind::full_attention)},
                 {"heads", text.num_attention_heads},
                 {"kv_heads", text.num_key_value_heads},
                 {"head_dim", text.head_dim},
                 {"linear_key_heads", text.linear_num_key_heads},
                 {"linear_value_heads", text.linear_num_value_heads},
                 {"max_position_embeddings", text.max_position_embeddings}};
    if (config.mixture_of_experts()) {
        json["experts"] = text.num_experts;
        json["experts_per_token"] = text.num_experts_per_tok;
        json["moe_intermediate_size"] = text.moe_intermediate_size;
        json["shared_expert_intermediate_size"] = text.shared_expert_intermediate_size;
    } else {
        json["intermediate_size"] = text.intermediate_size;
    }
    json["tie_word_embeddings"] = config.tie_word_embeddings;
    return json;
}

Json describe_families(const Footprint& footprint) {
    Json families = Json::array();
    for (int i = 0; i < weight_families; ++i) {
        const FamilySize& size = footprint.families[static_cast<size_t>(i)];
        if (size.tensors == 0) continue;
        Json formats = Json::object();
        for (const auto& [format, count] : size.formats) formats[format] = count;
        families.push_back({{"family", family_name(static_cast<WeightFamily>(i))},
                            {"tensors", size.tensors},
                            {"parameters", size.parameters},
                            {"bytes", size.file_bytes},
                            {"resident_bytes", size.resident_bytes},
                            {"formats", std::move(formats)}});
    }
    return families;
}

Json describe_memory(const ModelConfig& config, const Footprint& footprint, int64_t context) {
    const CacheTypes types;
    const uint64_t kv = kv_bytes_per_token(config.text, types),
                   state = state_bytes_per_sequence(config.text, types);
    return {{"weights_bytes", footprint.text_bytes()},
            {"kv_bytes_per_token", kv},
            {"state_bytes_per_sequence", state},
            {"context", context},
            {"bytes_for_one_sequence", footprint.text_bytes() + state + kv * static_cast<uint64_t>(context)}};
}

Json describe_tensors(const ModelSource& source) {
    Json tensors = Json::array();
    for (const std::string& name : source.weights->names()) {
        const WeightSource::Info& info = *source.weights->find(name);
        Json shape = Json::array();
        for (int i = 0; i < info.shape.rank(); ++i) shape.push_back(info.shape[i]);
        tensors.push_back({{"name", name},
                           {"dtype", dtype_name(info.dtype)},
                           {"shape", std::move(shape)},
                           {"file", source.weights->where(name)}});
    }
    return tensors;
}

Json describe(const ModelSource& source, const Options& options) {
    const Footprint footprint = measure_footprint(*source.weights, source.config);
    const int64_t context = options.integer("context");
    Json json = {
        {"model", source.path.string()},
        {"architecture", source.config.architecture},
        {"model_type", source.config.model_type},
        {"dtype", source.config.dtype},
        {"quantization",
         source.config.quantization.method.empty() ? Json() : Json(source.config.quantization.method)},
        {"text", describe_text(source.config)},
        {"vision", source.config.vision.has_value()},
        {"files", source.checkpoint ? Json(source.checkpoint->shards().size()) : Json(0)},
        {"tensors", footprint.tensors()},
        {"bytes", footprint.file_bytes()},
        {"parameters", footprint.parameters()},
        {"families", describe_families(footprint)},
        {"memory", describe_memory(source.config, footprint,
                                   context < 0 ? source.config.text.max_position_embeddings : context)}};
    if (options.flag("tensors")) json["tensor_list"] = describe_tensors(source);
    return json;
}

std::string formats_text(const Json& formats) {
    std::string text;
    for (const auto& [format, count] : formats.items())
        text +=
            fmt::format("{}{}", text.empty() ? "" : ", ",
                        formats.size() > 1 ? fmt::format("{} x {}", count.get<int64_t>(), format) : format);
    return text;
}

void print_head(const Json& json) {
    const Json& text = json["text"];
    auto number = [&](const char* key) { return count_text(text[key].get<int64_t>()); };
    std::vector<std::pair<std::string, std::string>> rows = {
        {"model", json["model"].get<std::string>()},
        {"architecture",
         fmt::format("{}, {}{}", json["architecture"].get<std::string>(), json["dtype"].get<std::string>(),
                     json["quantization"].is_null()
                         ? ""
                         : fmt::format(", {}", json["quantization"].get<std::string>()))},
        {"layers", fmt::format("{} ({} linear attention, {} full attention)", number("layers"),
                               number("linear_attention_layers"), number("full_attention_layers"))},
        {"hidden", number("hidden_size")},
        {"attention",
         fmt::format("{} heads, {} kv heads of {}", number("heads"), number("kv_heads"), number("head_dim"))},
        {"delta net", fmt::format("{} key heads, {} value heads", number("linear_key_heads"),
                                  number("linear_value_heads"))}};
    if (text.contains("experts"))
        rows.push_back({"experts", fmt::format("{}, {} per token, of width {}; shared expert of width {}",
                                               number("experts"), number("experts_per_token"),
                                               number("moe_intermediate_size"),
                                               number("shared_expert_intermediate_size"))});
    else
        rows.push_back({"mlp", fmt::format("width {}", number("intermediate_size"))});
    rows.push_back(
        {"vocabulary",
         fmt::format("{}{}", number("vocab_size"),
                     text["tie_word_embeddings"].get<bool>() ? ", head tied to the embedding" : "")});
    rows.push_back({"context", fmt::format("{} tokens", number("max_position_embeddings"))});
    rows.push_back(
        {"vision", json["vision"].get<bool>() ? "in the checkpoint; not used by this version" : "none"});
    output::write(output::pairs(rows));
}

void print_families(const Json& json) {
    std::vector<std::vector<std::string>> rows = {{"weights", "tensors", "parameters", "bytes", "format"}};
    for (const Json& family : json["families"])
        rows.push_back({family["family"].get<std::string>(), count_text(family["tensors"].get<int64_t>()),
                        count_text(family["parameters"].get<int64_t>()),
                        bytes_text(family["bytes"].get<double>()), formats_text(family["formats"])});
    rows.push_back({"all", count_text(json["tensors"].get<int64_t>()),
                    count_text(json["parameters"].get<int64_t>()), bytes_text(json["bytes"].get<double>()),
                    fmt::format("in {} files; parameters of the text model", json["files"].get<int64_t>())});
    output::write("\n" + output::table(rows));
}

void print_memory(const Json& memory) {
    const std::vector<std::pair<std::string, std::string>> rows = {
        {"memory", ""},
        {"weights", bytes_text(memory["weights_bytes"].get<double>())},
        {"per token of context", bytes_text(memory["kv_bytes_per_token"].get<double>())},
        {"per sequence", bytes_text(memory["state_bytes_per_sequence"].get<double>())},
        {fmt::format("one sequence of {} tokens", memory["context"].get<int64_t>()),
         bytes_text(memory["bytes_for_one_sequence"].get<double>())}};
    output::write("\n" + output::pairs(rows));
}

void print_tensors(const Json& tensors) {
    std::vector<std::vector<std::string>> rows;
    for (const Json& tensor : tensors)
        rows.push_back({tensor["name"].get<std::string>(), tensor["dtype"].get<std::string>(),
                        tensor["shape"].dump(), tensor["file"].get<std::string>()});
    output::write("\n" + output::table(rows));
}

}  // namespace

int run_inspect(const Options& options) {
    const ModelSource source = open_model_source(options);
    const Json json = describe(source, options);
    if (options.flag("json")) {
        output::write_line(json);
        return exit_done;
    }
    print_head(json);
    print_families(json);
    print_memory(json["memory"]);
    if (options.flag("tensors")) print_tensors(json["tensor_list"]);
    return exit_done;
}

}  // namespace sheaf
