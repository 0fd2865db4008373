// Recording the work of a stream as a CUDA graph. Used by CudaOps. Must not know operators.
#pragma once

#include <functional>

#include "backend/cuda/context.h"
#include "ops/ops.h"

namespace sheaf::cuda {

/// Captures what `body` launches on the context's stream. An exception of `body` ends the capture and goes
/// on.
std::unique_ptr<Recording> record_graph(std::shared_ptr<const CudaContext> context,
                                        const std::function<void()>& body);

}  // namespace sheaf::cuda
