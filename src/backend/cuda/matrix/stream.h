// Launchers of the streaming kernels: up to 8 columns of bf16 activations per weight, at the memory's speed.
// Used by matrix.cpp; what they take is decided in dispatch.h. Activations in rows of whole 16-byte pieces.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/matrix/device_matrix.h"
#include "tensor/tensor.h"

namespace sheaf::cuda {

constexpr int64_t max_stream_tokens = 8, max_stream_inputs = 8192, max_stream_pairs = 128,
                  max_stream_inner = 2048;
constexpr uint32_t expert_table_bytes = 128 * (12 + 4 * 8) + 64 + 4096;  // of launch_stream_moe

/// At most max_stream_tokens rows, max_stream_inputs inputs; int4 or bf16.
void launch_stream_linear(const Tensor& x, const DeviceMatrix& weight, const Tensor& y, cudaStream_t stream);

/// A tile: some of an expert's rows, at places [first, first + count) of the order of launch_group.
struct ExpertTile {
    int32_t expert, first, count;
};

struct MoeCall {
    DeviceExperts experts;
    const void* x;  // bf16
    int64_t x_stride, tokens, top_k;
    const int32_t* ids;
    const float* weights;
    void* act;           // bf16 scratch: (pairs or pairs * 8, intermediate)
    uint32_t* counters;  // 8 bytes, zero at first, then the kernels' own
    void* y;             // bf16 (tokens, hidden)
    // by tiles only:
    const ExpertTile* tiles;
    const int32_t* tile_count;
    const int32_t* pair_of_place;
    float* partial;  // (pairs, hidden), by place
};

/// A whole mixture of experts in one kernel, for at most max_stream_tokens tokens and max_stream_pairs pairs.
/// `act`: (tokens * top_k, 8, intermediate).
void launch_stream_moe(const MoeCall& call, cudaStream_t stream);
/// The same by tiles of at most 8 rows: weighted results per place into `partial`.
void launch_stream_moe_tiles(const MoeCall& call, cudaStream_t stream);

}  // namespace sheaf::cuda
