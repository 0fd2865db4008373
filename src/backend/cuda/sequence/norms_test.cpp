// Norms, gates and rotation against their definitions in double.
#include <gtest/gtest.h>

#include "backend/cuda/sequence/testing.h"

namespace sheaf::cuda {
namespace {

using namespace testing;

double silu(double x) {
    return x / (1.0 + std::exp(-x));
}

double tolerance(DType dtype) {
    return dtype == DType::bf16 ? 3e-3 : 3e-6;
}

struct Size {
    int64_t rows, groups, dim;
};
const std::vector<Size> sizes = {{1, 1, 4096}, {3, 2, 8},     {129, 1, 256}, {7, 3, 40},   {2, 2, 333},
                                 {9, 1, 1000}, {2, 1, 10000}, {33, 1, 5120}, {64, 5, 128}, {1, 1, 1}};

/// Columns [offset, offset + columns) of wider random rows.
struct WideRows {
    WideRows(DType dtype, int64_t rows, int64_t columns, int64_t offset, uint64_t key)
        : all(dtype, Shape{rows, columns + 24}, key, 2.0),
          view(all.device.view().columns(offset, offset + columns)) {
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < columns; ++c)
                values.push_back(all.values[static_cast<size_t>(r * (columns + 24) + offset + c)]);
    }
    Activations all;
    Tensor view;
    std::vector<float> values;
};

struct Want {
    std::vector<double> rms, gated, l2, swiglu;
};

Want wanted(const Size& size, const std::vector<float>& x, const std::vector<float>& gate,
            const std::vector<float>& weight) {
    Want want;
    const auto dim = static_cast<size_t>(size.dim);
    double squares = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        if (i % dim == 0) {
            squares = 0;
            for (size_t j = i; j < i + dim; ++j)
                squares += static_cast<double>(x[j]) * static_cast<double>(x[j]);
        }
        const double factor = 1.0 / std::sqrt(squares / static_cast<double>(dim) + 1e-6);
        const auto w = static_cast<double>(weight[i % dim]), v = static_cast<double>(x[i]);
        const auto g = static_cast<double>(gate[i]);
        want.rms.push_back(v * factor * (1.0 + w));
        want.gated.push_back(v * factor * w * silu(g));
        want.l2.push_back(v / std::sqrt(squares + 1e-6));
        want.swiglu.push_back(silu(g) * v);
    }
    return want;
}

TEST(CudaNorms, EqualTheirDefinitions) {
    for (const DType dtype : {DType::bf16, DType::f32})
        for (const int64_t offset : {int64_t{0}, int64_t{8}, int64_t{3}})
            for (const Size& size : sizes) {
                const int64_t columns = size.groups * size.dim;
                const Shape shape{size.rows, columns};
                const WideRows x(dtype, size.rows, columns, offset, 1),
                    gate(dtype, size.rows, columns, offset, 2);
                const Activations weight(DType::f32, Shape{size.dim}, 3);
                const Norm norm{weight.device.view(), 1e-6f};
                const Want want = wanted(size, x.values, gate.values, weight.values);
                const DeviceTensor a(dtype, shape), b(dtype, shape), c(dtype, shape), d(dtype, shape);
                rms_norm(x.view, norm, a, nullptr);
                gated_rms_norm(x.view, gate.view, norm, b, nullptr);
                l2_norm(x.view, size.dim, 1e-6f, c, nullptr);
                swiglu(gate.view, x.view, d, nullptr);
                const double bound = tolerance(dtype);
                EXPECT_LT(relative_error(a.floats(), want.rms), bound) << shape.to_string() << offset;
                EXPECT_LT(relative_error(b.floats(), want.gated), bound) << shape.to_string() << offset;
                EXPECT_LT(relative_error(c.floats(), want.l2), bound) << shape.to_string() << offset;
                EXPECT_LT(relative_error(d.floats(), want.swiglu), bound) << shape.to_string() << offset;
                const DeviceTensor sum(dtype, shape), normal(dtype, shape);
                add_rms_norm(x.view, gate.view, norm, normal, sum, nullptr);
                std::vector<float> exact;
                for (size_t i = 0; i < x.values.size(); ++i) exact.push_back(x.values[i] + gate.values[i]);
                exact = rounded_as(dtype, exact);
                EXPECT_EQ(sum.floats(), exact);
                EXPECT_LT(
                    relative_error(normal.floats(), wanted(size, exact, gate.values, weight.values).rms),
                    bound);
            }
}

TEST(CudaNorms, RotationEqualsItsDefinition) {
    constexpr int64_t rows = 37, heads = 3, dim = 40, half = 13;
    const Activations frequencies(DType::f32, Shape{half}, 5);
    std::vector<int32_t> axes, positions;
    for (int32_t i = 0; i < half; ++i) axes.push_back(i % 3);
    for (int32_t i = 0; i < 3 * rows; ++i) positions.push_back(i * 977 % 5003);
    const DeviceTensor device_axes(Shape{half}, axes), device_positions(Shape{3, rows}, positions);
    const Rotary rotary{frequencies.device.view(), device_axes.view(), 1.25f};
    for (const DType dtype : {DType::bf16, DType::f32}) {
        const Activations x(dtype, Shape{rows, heads * dim}, 4);
        const DeviceTensor y(dtype, Shape{rows, heads * dim});
        rotate(x.device, dim, device_positions, rotary, y, nullptr);
        std::vector<double> want(x.values.begin(), x.values.end());
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t h = 0; h < heads; ++h)
                for (int64_t i = 0; i < half; ++i) {
                    const auto at = static_cast<size_t>((r * heads + h) * dim + i), pair = at + half;
                    const auto position =
                        positions[static_cast<size_t>(axes[static_cast<size_t>(i)] * rows + r)];
                    const double angle =
                        static_cast<float>(position) * frequencies.values[static_cast<size_t>(i)];
                    const double c = 1.25 * std::cos(angle), s = 1.25 * std::sin(angle);
                    want[at] =
                        c * static_cast<double>(x.values[at]) - s * static_cast<double>(x.values[pair]);
                    want[pair] =
                        c * static_cast<double>(x.values[pair]) + s * static_cast<double>(x.values[at]);
                }
        EXPECT_LT(relative_error(y.floats(), want), tolerance(dtype));
    }
}

}  // namespace
}  // namespace sheaf::cuda
