#include "model/memory.h"

namespace sheaf {

DType keys_values_dtype(const CacheDTypes& dtypes, ComputeType type) {
    return dtypes.keys_values.value_or(type == ComputeType::f32 ? DType::f32 : DType::bf16);
}

DType recurrent_dtype(const CacheDTypes& dtypes) {
    return dtypes.recurrent.value_or(DType::f32);
}

uint64_t kv_bytes_per_token(const TextConfig& config, ComputeType type, const CacheDTypes& dtypes) {
    return static_cast<uint64_t>(config.count(LayerKind::full_attention)) * 2 *
           static_cast<uint64_t>(config.num_key_value_heads * config.head_dim) *
           dtype_size(keys_values_dtype(dtypes, type));
}

uint64_t state_bytes_per_sequence(const TextConfig& config, const CacheDTypes& dtypes) {
    const auto recurrent = static_cast<uint64_t>(config.linear_num_value_heads * config.linear_key_head_dim *
                                                 config.linear_value_head_dim);
    const auto conv = static_cast<uint64_t>((config.linear_conv_kernel_dim - 1) * config.conv_channels());
    return static_cast<uint64_t>(config.count(LayerKind::linear_attention)) *
           (recurrent * dtype_size(recurrent_dtype(dtypes)) + conv * sizeof(float));
}

}  // namespace sheaf
