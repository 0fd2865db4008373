#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/gpu_models.h"
#include "app/model_source.h"
#include "app/options_values.h"
#include "app/output.h"
#include "model/memory_plan.h"

namespace sheaf {

namespace {

using Json = nlohmann::ordered_json;
using output::bytes_text;
using output::count_text;

uint64_t memory_here() {
    return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::vector<int64_t> wanted_streams(const Options& options) {
    if (!options.given("streams")) return {1, 2, 4, 8, 16, 32, 64, 128};
    std::vector<int64_t> streams;
    for (const std::string& words : options.texts("streams"))
        for (const std::string_view word : option_values::split(words, ',')) {
            const auto count = option_values::read_integer(word);
            if (!count || *count < 1 || *count > 1'000'000)
                throw UsageError(fmt::format("--streams {}: numbers of sequences are due", words));
            streams.push_back(*count);
        }
    return streams;
}

PlanRequest read_request(const Options& options, const ModelConfig& config) {
    PlanRequest request;
    request.devices = options.integer("gpus");
    request.device_memory = static_cast<uint64_t>(options.maybe_integer("gpu-memory").value_or(0));
    request.host_memory =
        static_cast<uint64_t>(options.maybe_integer("ram").value_or(static_cast<int64_t>(memory_here())));
    request.bandwidth = options.maybe_number("bandwidth").value_or(0) * 1e9;
    request.flops = options.maybe_number("flops").value_or(0) * 1e12;
    if (options.given("gpu")) {
        const GpuModel& gpu = gpu_model(options.text("gpu"));
        if (request.device_memory == 0)
            request.device_memory = static_cast<uint64_t>(gpu.memory_gib * 0x1p30);
        if (request.bandwidth == 0) request.bandwidth = gpu.gigabytes_second * 1e9;
        if (request.flops == 0) request.flops = gpu.tera_flops * 1e12;
    }
    if (request.devices > 0 && request.device_memory == 0)
        throw UsageError("--gpus needs --gpu NAME or --gpu-memory BYTES, such as 139GiB");
    if (request.devices == 0 && request.device_memory > 0) request.devices = 1;
    request.efficiency = options.number("efficiency");
    request.context =
        options.integer("context") < 0 ? config.text.max_position_embeddings : options.integer("context");
    request.streams = wanted_streams(options);
    request.types.kv_bytes = options.text("kv-dtype") == "float32" ? 4
                             : options.text("kv-dtype") == "fp8"   ? 1
                                                                   : 2;
    request.types.state_bytes = options.text("state-dtype") == "bfloat16" ? 2 : 4;
    return request;
}

Json describe(const MemoryPlan& plan, const PlanRequest& request) {
    Json streams = Json::array();
    for (const StreamPlan& row : plan.streams) {
        Json json = {{"streams", row.streams},           {"fits", row.fits},
                     {"cache_bytes", row.cache_bytes},   {"bytes_per_step", row.step.bytes()},
                     {"flops_per_step", row.step.flops}, {"touched_experts", row.touched_experts}};
        if (row.ceiling > 0) {
            json["ceiling_tokens_per_second"] = row.ceiling;
            json["predicted_tokens_per_second"] = row.predicted;
        }
        streams.push_back(std::move(json));
    }
    Json json = {{"placement", placement_name(plan.placement)},
                 {"devices", request.devices},
                 {"memory_bytes", plan.memory},
                 {"weights_bytes", plan.weights},
                 {"dense_weights_bytes", plan.dense_weights},
                 {"working_bytes", plan.working},
                 {"cache_bytes", plan.cache},
                 {"experts_per_layer_on_device", plan.experts_on_device},
                 {"kv_bytes_per_token", plan.kv_per_token},
                 {"state_bytes_per_sequence", plan.state_per_sequence},
                 {"context", request.context},
                 {"sequences_that_fit", plan.sequences},
                 {"tokens_that_fit", plan.tokens},
                 {"missing_bytes", plan.missing},
                 {"streams", std::move(streams)}};
    if (plan.prefill_ceiling > 0) json["prefill_ceiling_tokens_per_second"] = plan.prefill_ceiling;
    return json;
}

void print(const MemoryPlan& plan, const PlanRequest& request) {
    auto bytes = [](uint64_t count) { return bytes_text(static_cast<double>(count)); };
    std::vector<std::pair<std::string, std::string>> rows = {
        {"placement", std::string(placement_name(plan.placement))},
        {"memory", fmt::format("{}{}", bytes(plan.memory),
                               request.devices > 1 ? fmt::format(" on {} devices", request.devices) : "")},
        {"weights",
         fmt::format("{} ({} without routed experts)", bytes(plan.weights), bytes(plan.dense_weights))},
        {"working memory", bytes(plan.working)},
        {"left for caches", bytes(plan.cache)},
        {"per token, per sequence",
         fmt::format("{}, {}", bytes(plan.kv_per_token), bytes(plan.state_per_sequence))},
        {fmt::format("sequences of {} tokens", request.context),
         fmt::format("{} ({} tokens)", plan.sequences, count_text(plan.tokens))}};
    if (plan.placement == Placement::experts_on_host)
        rows.push_back({"experts on the device", fmt::format("{} of each layer", plan.experts_on_device)});
    if (plan.missing > 0) rows.push_back({"missing", bytes(plan.missing)});
    if (plan.prefill_ceiling > 0)
        rows.push_back({"prefill", fmt::format("{} tokens/s at most",
                                               count_text(static_cast<int64_t>(plan.prefill_ceiling)))});
    output::write(output::pairs(rows));
    std::vector<std::vector<std::string>> table = {
        {"streams", "fits", "caches", "experts", "GB per step", "GFLOP"}};
    if (request.bandwidth > 0) table[0].insert(table[0].end(), {"ceiling tok/s", "predicted"});
    for (const StreamPlan& row : plan.streams) {
        table.push_back({std::to_string(row.streams), row.fits ? "yes" : "no", bytes(row.cache_bytes),
                         fmt::format("{:.1f}", row.touched_experts),
                         fmt::format("{:.2f}", row.step.bytes() / 1e9),
                         fmt::format("{:.1f}", row.step.flops / 1e9)});
        if (request.bandwidth > 0)
            table.back().insert(table.back().end(),
                                {fmt::format("{:.0f}", row.ceiling), fmt::format("{:.0f}", row.predicted)});
    }
    output::write("\n" + output::table(table));
}

}  // namespace

int run_plan(const Options& options) {
    ModelSource source = open_planned_source(options);
    const PlanRequest request = read_request(options, source.config);
    const MemoryPlan plan =
        make_memory_plan(source.config, measure_footprint(*source.weights, source.config), request);
    if (options.flag("json"))
        output::write_line(describe(plan, request));
    else
        print(plan, request);
    return exit_done;
}

}  // namespace sheaf
