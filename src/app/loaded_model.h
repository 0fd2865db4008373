// MODEL on the command line brought onto a machine: picks the machine, loads with progress on standard error,
// and makes an engine of it. Used by serve, generate, chat, score, compare and bench. Must not know what the
// model is for, nor anything of text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "app/options.h"

namespace sheaf {

class Engine;
class Machine;
class Model;

struct LoadedModel {
    std::shared_ptr<Machine> machine;
    std::shared_ptr<Model> model;
};

/// Bytes of weights on the machine so far, of all, and the seconds that the rest may take (negative:
/// unknown).
using LoadWatcher = std::function<void(uint64_t done, uint64_t total, double eta_seconds)>;

/// Who makes the numbers of --random-weights: the source, the same on all machines, or the machine, quicker.
enum class RandomBy { source, machine };

/// The machine that --device, --dtype and --threads ask for.
std::shared_ptr<Machine> make_wanted_machine(const Options& options);

/// Loads `model` (an operand). Errors: as load_model. Interruptible.
LoadedModel load_wanted_model(const std::string& model, std::shared_ptr<Machine> machine,
                              const Options& options, const LoadWatcher& watcher = {},
                              RandomBy random = RandomBy::source);

/// `max_waiting`: how many requests may queue; `token_limit`: ids that the tokenizer knows (0: no limit).
/// `on_fault`: as EngineOptions::on_fault.
std::shared_ptr<Engine> make_wanted_engine(const LoadedModel& loaded, const Options& options,
                                           int32_t max_waiting, int32_t token_limit,
                                           std::function<void(const std::string&)> on_fault = {});

}  // namespace sheaf
