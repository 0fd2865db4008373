// Weight formats: how a linear layer is stored in a checkpoint (plain, GPTQ/AutoRound int4, AWQ, block FP8,
// compressed-tensors) and how it becomes canonical. The tensor's suffixes decide the format; the checkpoint's
// quantization_config only supplies bits, group size and packing. Used by the loader, inspect and doctor.
// Must not know the model or a back end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/host_linear.h"
#include "weights/weight_source.h"

namespace sheaf {

/// What a checkpoint's quantization_config says that tensors cannot say themselves. Filled by model/config.
struct QuantizationHints {
    std::string method;   // "", "auto-round", "gptq", "awq", "fp8", "compressed-tensors", "modelopt"
    std::string packing;  // packing_format / checkpoint_format / format as written
    int bits = 4;
    int64_t group_size = 128;  // -1: one group per column
    bool symmetric = true;
    bool zero_point_minus_one = true;  // GPTQ v1: the stored zero point is the used one minus 1
    int64_t fp8_block_rows = 128, fp8_block_columns = 128;
};

class WeightFormat {
  public:
    virtual ~WeightFormat() = default;
    virtual std::string_view name() const = 0;  // "int4 gptq", "bf16", ... as inspect prints it

    /// Whether the tensors of `module` ("...q_proj") are of this format.
    virtual bool accepts(const WeightSource& source, std::string_view module) const = 0;
    /// Reads it. (out, in) come from the config; a tensor of another shape is Error(corrupt_file) by name.
    virtual HostLinear load(WeightSource& source, std::string_view module, int64_t out, int64_t in,
                            const QuantizationHints& hints) const = 0;
};

/// The formats we read, most specific first.
const std::vector<std::unique_ptr<WeightFormat>>& weight_formats();

/// The format of a module, or null when no tensor of it exists. Formats we recognise but do not run (NVFP4,
/// 3-bit, stacked GPTQ, MLX, bitsandbytes, 8-bit GPTQ) are Error(unsupported) with the format's name.
const WeightFormat* find_weight_format(const WeightSource& source, std::string_view module);

/// find + load; Error(not_found) names the module when nothing is there.
HostLinear load_linear(WeightSource& source, std::string_view module, int64_t out, int64_t in,
                       const QuantizationHints& hints);

/// Refuses whole-checkpoint layouts we know and do not load: GGUF files, MLX names, NVFP4, stacked 3-D GPTQ.
void refuse_known_foreign_layouts(const WeightSource& source);

}  // namespace sheaf
