#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "app/bench_steps.h"
#include "app/commands.h"
#include "app/loaded_model.h"
#include "app/options_values.h"
#include "app/output.h"
#include "base/file.h"
#include "base/log.h"
#include "model/model.h"
#include "ops/machine.h"

namespace sheaf {

namespace {

using Json = nlohmann::ordered_json;

/// "1,8,32"; "none" or nothing is no number.
std::vector<int64_t> numbers(const Options& options, const char* name, int64_t least) {
    std::vector<int64_t> values;
    const std::string text = options.text(name);
    if (text.empty() || text == "none") return values;
    for (const std::string_view word : option_values::split(text, ',')) {
        const auto value = option_values::read_size(word);
        if (!value || *value < least)
            throw UsageError(fmt::format("--{} {}: numbers such as 1,8,32 are due", name, text));
        values.push_back(*value);
    }
    return values;
}

struct Prompts {
    int64_t count, tokens;
};

/// "4096,8x2048": one prompt of 4,096 tokens, eight of 2,048.
std::vector<Prompts> read_prompts(const Options& options) {
    std::vector<Prompts> all;
    const std::string text = options.text("prefill");
    if (text.empty() || text == "none") return all;
    for (const std::string_view word : option_values::split(text, ',')) {
        const size_t cross = word.find('x');
        const auto count =
            cross == word.npos ? std::optional<int64_t>(1) : option_values::read_size(word.substr(0, cross));
        const auto tokens = option_values::read_size(cross == word.npos ? word : word.substr(cross + 1));
        if (!count || !tokens || *count < 1 || *tokens < 1)
            throw UsageError(fmt::format("--prefill {}: lengths such as 512,4096 or 8x2048 are due", text));
        all.push_back({*count, *tokens});
    }
    return all;
}

class Rows {
  public:
    Rows(const Options& options, const LoadedModel& loaded)
        : peaks_(loaded.machine->measure_peaks()),
          device_(loaded.machine->name()),
          threads_(options.integer("threads")),
          layers_(loaded.model->config.text.num_hidden_layers),
          dtype_(loaded.machine->compute_type() == ComputeType::f32 ? "float32" : "bfloat16") {
        log::info("{}: reads {:.1f} GB/s, computes {:.0f} GFLOP/s at most", device_,
                  peaks_.read_bytes_per_second / 1e9, peaks_.flops_per_second / 1e9);
    }

    void add(const char* phase, int64_t batch, int64_t context, const StepTime& step) {
        const double speed = static_cast<double>(step.tokens) / step.seconds;
        // The step takes at least as long as its bytes or its operations do at the measured peak.
        const double memory =
            peaks_.read_bytes_per_second > 0 ? step.bytes / peaks_.read_bytes_per_second : 0;
        const double compute = peaks_.flops_per_second > 0 ? step.operations / peaks_.flops_per_second : 0;
        const double least = std::max(memory, compute);
        const double fraction = least / step.seconds;
        const double ceiling =
            least > 0 ? static_cast<double>(step.tokens) / least : 0;  // as in `sheaf plan`
        json_.push_back({{"phase", phase},
                         {"batch", batch},
                         {"context", context},
                         {"tokens_per_second", speed},
                         {"seconds_per_step", step.seconds},
                         {"bytes_per_step", step.bytes},
                         {"flops_per_step", step.operations},
                         {"peak_bandwidth", peaks_.read_bytes_per_second},
                         {"peak_flops", peaks_.flops_per_second},
                         {"fraction_of_peak", fraction},
                         {"ceiling_tokens_per_second", ceiling},
                         {"distinct_experts_per_layer", step.experts},
                         {"device", device_},
                         {"threads", threads_},
                         {"layers", layers_},
                         {"dtype", dtype_}});
        table_.push_back(
            {phase, std::to_string(batch), std::to_string(context), fmt::format("{:.1f}", speed),
             least > 0 ? fmt::format("{:.0f}", ceiling) : "-", fmt::format("{:.2f}", 1e3 * step.seconds),
             fmt::format("{:.3f}", step.bytes / 1e9), fmt::format("{:.2f}", step.operations / 1e9),
             fmt::format("{:.0f} % of {}", 100 * fraction, memory >= compute ? "bandwidth" : "compute"),
             step.experts > 0 ? fmt::format("{:.1f}", step.experts) : "-"});
        log::info("{} batch {} context {}: {:.1f} tokens/s", phase, batch, context, speed);
    }

    void finish(const std::string& file) const {
        if (file != "-") output::write(output::table(table_));
        if (file.empty()) return;
        const std::string text = json_.dump(2) + "\n";
        if (file == "-") return output::write(text);
        AtomicFile out(file);
        out.write(text);
        out.commit();
    }

  private:
    MachinePeaks peaks_;
    std::string device_;
    int64_t threads_, layers_;
    std::string dtype_;
    Json json_ = Json::array();
    std::vector<std::vector<std::string>> table_ = {{"phase", "batch", "context", "tokens/s", "ceiling",
                                                     "ms per step", "GB", "GFLOP", "of the peak", "experts"}};
};

}  // namespace

int run_bench(const Options& options) {
    const auto batches = numbers(options, "batch", 1), contexts = numbers(options, "context", 0);
    const std::vector<Prompts> prompts = read_prompts(options);
    const LoadedModel loaded =
        load_wanted_model(options.model(), make_wanted_machine(options), options, {}, RandomBy::machine);
    Rows rows(options, loaded);
    StepBench bench(loaded.model, *loaded.machine, static_cast<int>(options.integer("repeat")),
                    options.text("routing"));
    for (const auto& [count, tokens] : prompts)
        rows.add("prefill", count, tokens, bench.prefill(count, tokens));
    for (const int64_t context : contexts)
        for (const int64_t batch : batches) rows.add("decode", batch, context, bench.decode(batch, context));
    rows.finish(options.text("json"));
    return exit_done;
}

}  // namespace sheaf
