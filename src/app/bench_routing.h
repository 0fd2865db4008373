// An Ops whose router is overruled: tokens go to experts drawn by a fixed pattern, so that a measurement says
// how many experts a batch touches. Everything else, the router's own work included, is the inner Ops'. Used
// by the bench. Must not know the model.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ops/ops.h"

namespace sheaf {

/// The machine's operators with another router. "uniform": every expert alike; "zipf": the expert of rank r
/// with weight 1 / r, ranks shuffled per layer and step. `experts` of the model; 0 for a dense one. Every
/// step's batch must be staged.
std::unique_ptr<Ops> make_routed_ops(Machine& machine, const std::string& pattern, int64_t layers,
                                     int64_t experts, int64_t top_k);

}  // namespace sheaf
