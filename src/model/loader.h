// The loader: fills a model's weight slots from a WeightSource onto a machine, each weight read once,
// straight from the map into the back end's layout. Used by commands and tests. At the end every slot is
// filled and every tensor used or knowingly skipped; otherwise it fails and names both lists. Must not know a
// particular back end.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "model/model.h"
#include "ops/machine.h"
#include "weights/checkpoint.h"

namespace sheaf {

struct LoadProgress {
    uint64_t bytes_done = 0, bytes_total = 0;
    std::string phase;  // "weights"
};

struct LoadOptions {
    /// Only the first decoder layers (0: all), for measuring; the others' tensors are skipped.
    int64_t layers = 0;
    /// Random weights are made by the machine where it can: quicker, and other numbers than the source's.
    bool random_by_machine = false;
    std::function<void(const LoadProgress&)> progress;
};

/// Opens a checkpoint folder under canonical names. Errors: not_found, corrupt_file, unsupported.
std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& folder);

/// Errors: corrupt_file (missing or left-over tensors, wrong shapes), out_of_memory with the figures before
/// anything is read.
std::shared_ptr<Model> load_model(WeightSource& source, ModelConfig config, Machine& machine,
                                  const LoadOptions& options = {});

}  // namespace sheaf
