#include "model/memory.h"

namespace sheaf {

uint64_t kv_bytes_per_token(const TextConfig& config, ComputeType type) {
    const uint64_t element = type == ComputeType::f32 ? 4 : 2;
    return static_cast<uint64_t>(config.count(LayerKind::full_attention)) * 2 *
           static_cast<uint64_t>(config.num_key_value_heads * config.head_dim) * element;
}

uint64_t state_bytes_per_sequence(const TextConfig& config) {
    const int64_t recurrent =
        config.linear_num_value_heads * config.linear_key_head_dim * config.linear_value_head_dim;
    const int64_t conv = (config.linear_conv_kernel_dim - 1) * config.conv_channels();
    return static_cast<uint64_t>(config.count(LayerKind::linear_attention) * (recurrent + conv)) *
           sizeof(float);
}

}  // namespace sheaf
