// Element types of tensors, as safetensors names them. Used by everything that holds numbers; knows no
// storage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bfloat16.h"

namespace sheaf {

enum class DType : uint8_t {
    f32,
    bf16,
    f16,
    f64,
    f8_e4m3,
    f8_e5m2,
    i64,
    i32,
    i16,
    i8,
    u64,
    u32,
    u16,
    u8,
    boolean
};

/// Bytes of one element.
size_t dtype_size(DType dtype);
/// The safetensors spelling: "F32", "BF16", "F8_E4M3", "I32", ...
std::string_view dtype_name(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
    static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bfloat16> {
    static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<float16> {
    static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<double> {
    static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<int32_t> {
    static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
    static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<uint8_t> {
    static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<uint32_t> {
    static constexpr DType value = DType::u32;
};

}  // namespace sheaf
