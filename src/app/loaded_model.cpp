#include "app/loaded_model.h"

#include <fmt/format.h>

#include "app/interrupt.h"
#include "app/model_source.h"
#include "app/progress.h"
#include "backend/registry.h"
#include "base/log.h"
#include "engine/engine.h"
#include "model/loader.h"

namespace sheaf {

std::shared_ptr<Machine> make_wanted_machine(const Options& options) {
    return make_machine({.device = options.text("device"),
                         .compute = options.text("dtype") == "float32" ? ComputeType::f32 : ComputeType::bf16,
                         .threads = static_cast<int>(options.integer("threads")),
                         .deterministic = options.flag("deterministic")});
}

LoadedModel load_wanted_model(const std::string& name, std::shared_ptr<Machine> machine,
                              const Options& options, const LoadWatcher& watcher, RandomBy random) {
    ModelSource source = open_model_source(name, options);
    log::info("{}: {} on {}", name, source.config.architecture, machine->name());
    Progress progress(fmt::format("loading {}", name));
    LoadOptions load;
    load.layers = options.maybe_integer("layers").value_or(0);
    load.random_by_machine = source.random && random == RandomBy::machine;
    load.progress = [&](const LoadProgress& now) {
        check_interrupted();
        progress.update(now.bytes_done, now.bytes_total);
        if (watcher) watcher(now.bytes_done, now.bytes_total, progress.eta_seconds());
    };
    LoadedModel loaded;
    loaded.model = load_model(*source.weights, std::move(source.config), *machine, load);
    loaded.machine = std::move(machine);
    return loaded;
}

namespace {

CacheDTypes wanted_cache_dtypes(const Options& options, const Machine& machine) {
    CacheDTypes dtypes;
    if (options.text("kv-cache-dtype").starts_with("fp8")) {
        if (!machine.dedicated_memory())
            fail(ErrorKind::unsupported,
                 "--kv-cache-dtype fp8 needs a GPU; the CPU keeps keys and values in bfloat16 or float32");
        dtypes.keys_values = DType::f8_e4m3;
    }
    if (options.text("mamba-ssm-cache-dtype") == "bfloat16") dtypes.recurrent = DType::bf16;
    return dtypes;
}

}  // namespace

std::shared_ptr<Engine> make_wanted_engine(const LoadedModel& loaded, const Options& options,
                                           int32_t max_waiting, int32_t token_limit,
                                           std::function<void(const std::string&)> on_fault) {
    EngineOptions engine;
    engine.max_model_len = static_cast<int32_t>(std::max<int64_t>(options.integer("max-model-len"), 0));
    engine.max_num_seqs = static_cast<int32_t>(options.integer("max-num-seqs"));
    engine.max_num_batched_tokens = static_cast<int32_t>(options.integer("max-num-batched-tokens"));
    engine.max_waiting = max_waiting;
    engine.token_limit = token_limit;
    engine.on_fault = std::move(on_fault);
    engine.block_size = static_cast<int32_t>(options.integer("block-size"));
    engine.memory_utilization = options.number("gpu-memory-utilization");
    engine.enforce_eager = options.flag("enforce-eager");
    if (options.given("async-scheduling")) engine.async_scheduling = options.flag("async-scheduling");
    engine.cache_bytes = static_cast<uint64_t>(options.integer("kv-cache-memory-bytes"));
    engine.cache_dtypes = wanted_cache_dtypes(options, *loaded.machine);
    return Engine::create(loaded.model, loaded.machine, engine);
}

}  // namespace sheaf
