// Launchers of the kernels around the grouped products: which rows go to which expert, and the sum over a
// token's experts. Used by matrix.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/matrix/stream.h"

namespace sheaf::cuda {

/// The (token, choice) pairs in the order of their experts: pair_of_place and place_of_pair (pairs); the
/// experts' places cut into tiles of at most `tile_rows`. One block, no host involved.
struct Grouping {
    int32_t *pair_of_place, *place_of_pair;
    ExpertTile* tiles;    // at most group_tiles()
    int32_t* tile_count;  // two: tiles, and places in use
};

/// How places are given out: `even`: an expert's tiles are about equal in size instead of all full but the
/// last, and begin at multiples of 8; pair_of_place is -1 where that leaves gaps.
enum class Places { close, even };

void launch_group(const int32_t* ids, int64_t pairs, int64_t experts, int64_t tile_rows, Places places,
                  const Grouping& grouping, cudaStream_t stream);
/// The most places that launch_group can give out; a multiple of 8 for Places::even.
int64_t group_places(int64_t pairs, int64_t experts, Places places);
/// The most tiles that launch_group can make.
int64_t group_tiles(int64_t pairs, int64_t experts, int64_t tile_rows);

/// y[t] = sum over choices, in order, of the rows of `partial` (f32 or bf16) at their places.
void launch_add_choices(const void* partial, bool wide, const int32_t* place_of_pair, int64_t tokens,
                        int64_t top_k, int64_t hidden, void* y, cudaStream_t stream);

}  // namespace sheaf::cuda
