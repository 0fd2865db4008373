// Which kernel a product takes: a small table by kind of weight, shape and number of tokens, with the
// measurements that justify it in dispatch.cpp. Used by matrix.cpp. Must not launch anything.
#pragma once

#include <optional>

#include "backend/cuda/matrix/device_matrix.h"

namespace sheaf::cuda {

enum class LinearPath {
    plain,    // any weight and activation; exact, slow
    stream,   // up to 8 rows at a time, near the memory's speed
    tiles,    // int4, up to 128 rows at a time
    library,  // bf16 by cuBLASLt
};

enum class MoePath {
    plain,
    by_tokens,  // one kernel, columns are tokens
    by_rows,    // columns are an expert's rows, 8 at a time
    tiles,      // int4, up to 128 rows at a time
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

/// The most rows of an expert's tile of (token, choice) pairs.
int64_t expert_tile_rows(int64_t pairs, int64_t experts);

/// How the rings of the pipelined kernels are filled: by bulk copies of one lane (compute capability 9.0), or
/// by the cp.async of all lanes of the warps that fill.
enum class Fill : int32_t { bulk, lanes };
Fill stream_fill();

/// What the tile products are made of: wgmma where the device has it.
enum class TileEngine : int32_t { wgmma, mma };
TileEngine tile_engine();

/// A fixed choice wherever the kernel can run: for tests and benches, and for results that do not depend on
/// what else is in the batch (batch_invariant_paths). Set before any work is recorded.
struct ForcedPaths {
    std::optional<LinearPath> linear;
    std::optional<MoePath> moe;
    std::optional<Fill> fill;
    std::optional<TileEngine> engine = std::nullopt;
};
void force_paths(const ForcedPaths& paths);

/// A row's result is the same bits for any number of rows beside it; costs the speed of long batches.
constexpr ForcedPaths batch_invariant_paths{LinearPath::stream, MoePath::by_rows, {}};

}  // namespace sheaf::cuda
