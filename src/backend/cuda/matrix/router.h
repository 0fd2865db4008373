// Launchers of the router's choice of experts from its logits, and of one more choice beside it. Used by
// matrix.cpp. Must not know who calls it or the experts themselves.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace sheaf::cuda {

constexpr int64_t max_router_experts = 512, max_top_k = 16;

/// softmax over the first `experts` of each row, the k largest (ties to the lower id), renormalized. logits
/// f32 (tokens, stride).
void launch_top_k(const float* logits, int64_t stride, int64_t tokens, int64_t experts, int64_t top_k,
                  int32_t* ids, float* weights, cudaStream_t stream);

struct AddChoice {
    const int32_t* ids;  // (tokens, top_k), as the weights
    const float* weights;
    const void* gate;  // bf16 or (wide) f32, a row every `gate_stride` values
    int64_t gate_stride;
    bool wide;
    int64_t tokens;
    int top_k;
    int32_t id;
    int32_t* more_ids;  // (tokens, top_k + 1)
    float* more_weights;
};

/// The choices, and behind them `id` with the weight sigmoid(gate).
void launch_add_choice(const AddChoice& call, cudaStream_t stream);

}  // namespace sheaf::cuda
