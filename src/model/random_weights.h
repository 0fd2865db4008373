// RandomWeights: a WeightSource for a configuration without a checkpoint. Every number is a function of the
// tensor's name, its index and a seed; which modules are quantized, and how, is what config.json says.
// Magnitudes keep activations sane. For measuring and tests. Must not know machines.
#pragma once

#include <memory>

#include "model/config.h"
#include "weights/weight_source.h"

namespace sheaf {

/// Errors: unsupported for a quantization_config that names a format we cannot write.
std::unique_ptr<WeightSource> make_random_weights(const ModelConfig& config, uint64_t seed = 0);

/// Whether a module of this shape is quantized under the configuration: what AutoRound and the official
/// releases do (both dimensions multiples of 32, no router, gate, embedding or head, not excluded by name).
bool is_quantized_module(const ModelConfig& config, const std::string& module, int64_t out, int64_t in);

}  // namespace sheaf
