// From MODEL on the command line to something that can be loaded: the folder (also out of the Hugging Face
// cache), its configuration, and its weights or random ones. Used by inspect, plan, bench and the loading of
// models. Must not know machines, or what the model is for.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "app/options.h"
#include "model/config.h"
#include "weights/checkpoint.h"

namespace sheaf {

struct ModelSource {
    std::filesystem::path path;  // the folder, or the config.json of random weights
    ModelConfig config;
    std::unique_ptr<WeightSource> random;    // one of
    std::unique_ptr<Checkpoint> checkpoint;  // these two
    WeightSource* weights = nullptr;         // whichever it is
};

/// Reads config and tensor headers. Errors: as load_model_config and Checkpoint::open.
ModelSource open_model_source(const Options& options);
ModelSource open_model_source(const std::string& model, const Options& options);
/// For arithmetic alone: a bare config.json needs no --random-weights.
ModelSource open_planned_source(const Options& options);

}  // namespace sheaf
