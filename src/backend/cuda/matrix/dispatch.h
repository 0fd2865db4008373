// Which kernel a product takes: a small table by kind of weight, shape and number of tokens, with the
// measurements that justify it in dispatch.cpp. Used by matrix.cpp. Must not launch anything.
#pragma once

#include "backend/cuda/matrix/device_matrix.h"

namespace sheaf::cuda {

enum class LinearPath {
    plain,   // any weight and activation; exact, slow
    stream,  // 8 rows at a time at the memory's speed
};

enum class MoePath {
    plain,
    by_tokens,  // one kernel, columns are tokens
    by_tiles,   // columns are an expert's rows, 8 at a time
};

/// What the tables look at. vectors: activations are bf16 in rows of whole 16-byte pieces.
struct LinearShape {
    DeviceMatrix weight;
    int64_t tokens = 0;
    bool vectors = false;
};
LinearPath linear_path(const LinearShape& shape);

struct MoeShape {
    DeviceExperts experts;
    int64_t tokens = 0, top_k = 0;
    bool vectors = false;
};
MoePath moe_path(const MoeShape& shape);

/// Results that do not depend on what else is in the batch, at some cost in speed. Off by default; set before
/// any work is recorded.
void set_batch_invariant(bool on);

}  // namespace sheaf::cuda
