// Routed experts as checkpoints store them: one fused tensor per layer, or per expert with gate and up fused
// or apart, in any weight format each. Turns every spelling into HostExpert. Used by the loader and inspect.
// Must not know machines.
#pragma once

#include "ops/machine.h"
#include "weights/weight_format.h"
#include "weights/weight_source.h"

namespace sheaf {

class ExpertSource {
  public:
    /// `module` is "....mlp.experts".
    ExpertSource(WeightSource& source, std::string module, int64_t count, int64_t hidden,
                 int64_t intermediate, const QuantizationHints& hints);

    /// The modules or tensors of expert `e` that do not exist under any spelling; empty when complete.
    std::vector<std::string> missing(int64_t e) const;
    /// Errors: corrupt_file on wrong shapes. Safe to call from several threads.
    HostExpert load(int64_t e) const;

  private:
    bool stacked() const;  // one (experts, rows, columns) tensor per layer
    std::string part(int64_t e, std::string_view name) const;        // experts.3.gate_proj
    std::string fused_part(int64_t e, std::string_view name) const;  // experts.gate_up_proj.3
    HostLinear load_stacked(std::string_view name, int64_t e, int64_t out, int64_t in) const;
    HostLinear load_down(int64_t e) const;

    WeightSource& source_;
    std::string module_;
    int64_t count_, hidden_, intermediate_;
    const QuantizationHints& hints_;
};

}  // namespace sheaf
