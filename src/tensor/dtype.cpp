#include "tensor/dtype.h"

#include <array>

#include "base/error.h"

namespace sheaf {
namespace {

struct Row {
    DType dtype;
    size_t size;
    std::string_view name;
};
constexpr std::array<Row, 15> rows{{{DType::f32, 4, "F32"},
                                    {DType::bf16, 2, "BF16"},
                                    {DType::f16, 2, "F16"},
                                    {DType::f64, 8, "F64"},
                                    {DType::f8_e4m3, 1, "F8_E4M3"},
                                    {DType::f8_e5m2, 1, "F8_E5M2"},
                                    {DType::i64, 8, "I64"},
                                    {DType::i32, 4, "I32"},
                                    {DType::i16, 2, "I16"},
                                    {DType::i8, 1, "I8"},
                                    {DType::u64, 8, "U64"},
                                    {DType::u32, 4, "U32"},
                                    {DType::u16, 2, "U16"},
                                    {DType::u8, 1, "U8"},
                                    {DType::boolean, 1, "BOOL"}}};

const Row& row(DType dtype) {
    const auto& found = rows.at(static_cast<size_t>(dtype));
    SHEAF_CHECK(found.dtype == dtype);
    return found;
}

}  // namespace

size_t dtype_size(DType dtype) {
    return row(dtype).size;
}
std::string_view dtype_name(DType dtype) {
    return row(dtype).name;
}

std::optional<DType> dtype_from_name(std::string_view name) {
    for (const auto& candidate : rows)
        if (candidate.name == name) return candidate.dtype;
    return std::nullopt;
}

}  // namespace sheaf
