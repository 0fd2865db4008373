// Routing for measurements: an Ops whose router is overruled, so that tokens go to experts drawn by a fixed
// pattern (everything else, the router's own work included, is the inner Ops'), and one that counts the
// experts that steps touch. Used by the bench. Must not know the model.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ops/forwarding.h"

namespace sheaf {

/// The machine's operators with another router. "uniform": every expert alike; "zipf": the expert of rank r
/// with weight 1 / r, ranks shuffled per layer and step. `experts` of the model; 0 for a dense one. Every
/// step's batch must be staged.
std::unique_ptr<Ops> make_routed_ops(Machine& machine, const std::string& pattern, int64_t layers,
                                     int64_t experts, int64_t top_k);

/// Counts the distinct experts of every routing that passes. Waits for each: not for timed or recorded steps.
class ExpertCounter final : public ForwardingOps {
  public:
    using ForwardingOps::ForwardingOps;

    Routing route(const Tensor& x, const Linear& router, int64_t top_k) override;
    std::pair<Routing, Tensor> route_with_shared(const Tensor& x, const Linear& router,
                                                 const Linear& shared_gate, int64_t top_k) override;
    /// Per routing; 0 when there was none.
    double mean() const { return routings_ > 0 ? distinct_ / routings_ : 0; }

  private:
    void count(const Routing& routing);
    double distinct_ = 0, routings_ = 0;
};

}  // namespace sheaf
