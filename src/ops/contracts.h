// CheckedOps: any Ops behind a check of every call's contract: shapes, dtypes, ranges. Debug builds and tests
// run the model through it; release builds run the inner Ops alone. Its checks are the formal side of the
// comments in ops.h. Must not know what computes.
#pragma once

#include <memory>

#include "ops/ops.h"

namespace sheaf {

/// Owns `inner`; a broken contract is an InternalError that names the operator.
std::unique_ptr<Ops> make_checked_ops(std::unique_ptr<Ops> inner);

/// CheckedOps in debug builds, `ops` itself otherwise.
std::unique_ptr<Ops> checked_in_debug(std::unique_ptr<Ops> ops);

}  // namespace sheaf
