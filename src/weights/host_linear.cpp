#include "weights/host_linear.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace sheaf {
namespace {

float value_at(const Tensor& matrix, int64_t row, int64_t column) {
    const int64_t index = row * matrix.row_stride() + column;
    switch (matrix.dtype()) {
        case DType::f32:
            return matrix.data<float>()[index];
        case DType::bf16:
            return static_cast<float>(matrix.data<bfloat16>()[index]);
        case DType::f16:
            return static_cast<float>(matrix.data<float16>()[index]);
        case DType::f8_e4m3:
            return float8_e4m3_to_float(static_cast<const uint8_t*>(matrix.raw())[index]);
        default:
            SHEAF_CHECK(false, "no float type: {}", dtype_name(matrix.dtype()));
    }
    return 0;
}

DenseWeight slice(const DenseWeight& weight, int64_t begin, int64_t end) {
    return {weight.values.rows(begin, end)};
}

Int4Weight slice(const Int4Weight& weight, int64_t begin, int64_t end) {
    Int4Weight part = weight;
    part.codes = weight.codes.columns(begin, end);
    part.scales = weight.scales.columns(begin, end);
    if (weight.zeros.defined()) part.zeros = weight.zeros.columns(begin, end);
    return part;
}

// A slice that starts inside a block needs smaller blocks: the greatest height whose borders hit both the old
// ones and the slice's begin.
Fp8Weight slice(const Fp8Weight& weight, int64_t begin, int64_t end) {
    Fp8Weight part = weight;
    part.values = weight.values.rows(begin, end);
    const int64_t rows = weight.block_rows, first = begin / rows, last = (end + rows - 1) / rows;
    if (begin % rows == 0 || last - first <= 1) {
        part.scales = weight.scales.rows(first, std::max(first, last));
        if (begin % rows != 0) part.block_rows = std::max<int64_t>(1, end - begin);
        return part;
    }
    part.block_rows = std::gcd(rows, begin % rows);
    const Tensor& scales = weight.scales.view;
    const int64_t count = (end - begin + part.block_rows - 1) / part.block_rows;
    part.scales = HostTensor(scales.dtype(), Shape{count, scales.size(1)});
    const size_t row_bytes = static_cast<size_t>(scales.size(1)) * dtype_size(scales.dtype());
    for (int64_t i = 0; i < count; ++i)
        std::memcpy(part.scales.view.rows(i, i + 1).raw(),
                    scales.rows((begin + i * part.block_rows) / rows, scales.size(0)).raw(), row_bytes);
    return part;
}

void expand(const DenseWeight& weight, Tensor& out) {
    for (int64_t n = 0; n < out.size(0); ++n)
        for (int64_t k = 0; k < out.size(1); ++k) out.row<float>(n)[k] = value_at(weight.values.view, n, k);
}

void expand(const Int4Weight& weight, Tensor& out) {
    for (int64_t p = 0; p < out.size(1); ++p) {
        const int64_t group = p / weight.group_size;
        const int64_t k = weight.input_order.defined() ? weight.input_order.view.data<int32_t>()[p] : p;
        for (int64_t n = 0; n < out.size(0); ++n) {
            const auto word = static_cast<uint32_t>(weight.codes.view.row<int32_t>(p / 8)[n]);
            const int code = static_cast<int>(word >> (4 * (p % 8)) & 15u);
            const int zero = weight.zeros.defined() ? weight.zeros.view.row<uint8_t>(group)[n] : 8;
            out.row<float>(n)[k] = static_cast<float>(code - zero) * value_at(weight.scales.view, group, n);
        }
    }
}

void expand(const Fp8Weight& weight, Tensor& out) {
    for (int64_t n = 0; n < out.size(0); ++n)
        for (int64_t k = 0; k < out.size(1); ++k)
            out.row<float>(n)[k] =
                value_at(weight.values.view, n, k) *
                value_at(weight.scales.view, n / weight.block_rows, k / weight.block_columns);
}

}  // namespace

HostLinear HostLinear::output_slice(int64_t begin, int64_t end) const {
    SHEAF_CHECK(0 <= begin && begin <= end && end <= out, "rows {}..{} of {}", begin, end, out);
    HostLinear part;
    part.out = end - begin;
    part.in = in;
    std::visit([&](const auto& whole) { part.weight = slice(whole, begin, end); }, weight);
    if (bias.defined()) part.bias = bias.rows(begin, end);
    return part;
}

HostTensor dequantize(const HostLinear& linear) {
    HostTensor result(DType::f32, Shape{linear.out, linear.in});
    std::visit([&](const auto& weight) { expand(weight, result.view); }, linear.weight);
    return result;
}

}  // namespace sheaf
