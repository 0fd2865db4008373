// The primitives.
#include "backend/cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace sheaf::cpu {
namespace {

int64_t columns_of(const Tensor& x) {
    return x.size(0) == 0 ? 0 : x.elements() / x.size(0);
}

BinaryKind kind_of(Binary function) {
    switch (function) {
        case Binary::add:
            return BinaryKind::add;
        case Binary::subtract:
            return BinaryKind::subtract;
        case Binary::multiply:
            return BinaryKind::multiply;
    }
    SHEAF_CHECK(false, "binary function {}", static_cast<int>(function));
}

/// The rarely used functions, by the C library.
float by_library(Unary function, float x) {
    if (function == Unary::softplus) return x > 20.0f ? x : std::log1p(std::exp(x));
    return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));  // gelu_erf
}

template <class Work>
void for_row_chunks(ThreadPool& pool, int64_t rows, int64_t columns, const Work& work) {
    constexpr int64_t numbers_per_task = 16384;
    const int64_t step = std::max<int64_t>(1, numbers_per_task / std::max<int64_t>(1, columns));
    pool.parallel_for((rows + step - 1) / step, [&](int64_t task) {
        for (int64_t row = task * step; row < std::min(rows, (task + 1) * step); ++row) work(row);
    });
}

}  // namespace

void convert(const Kernels& kernels, ThreadPool& pool, const Tensor& source, const Tensor& target) {
    SHEAF_CHECK(source.elements() == target.elements() && target.contiguous());
    if (source.elements() == 0) return;
    const DType from = source.dtype(), to = target.dtype();
    const int64_t rows = source.size(0), columns = columns_of(source);
    const auto* in = static_cast<const char*>(source.raw());
    auto* out = static_cast<char*>(target.raw());
    const auto from_size = static_cast<int64_t>(dtype_size(from)),
               to_size = static_cast<int64_t>(dtype_size(to));
    const bool known = from == to || (from == DType::bf16 && to == DType::f32) ||
                       (from == DType::f16 && (to == DType::f32 || to == DType::bf16)) ||
                       (from == DType::f32 && to == DType::bf16);
    if (!known) fail(ErrorKind::unsupported, "no conversion from {} to {}", dtype_name(from), dtype_name(to));
    for_row_chunks(pool, rows, columns, [&](int64_t row) {
        const char* x = in + row * source.row_stride() * from_size;
        char* y = out + row * columns * to_size;
        auto* narrow = reinterpret_cast<uint16_t*>(y);
        const auto* halves = reinterpret_cast<const uint16_t*>(x);
        if (from == to) {
            std::memcpy(y, x, static_cast<size_t>(columns * to_size));
        } else if (from == DType::bf16) {
            kernels.bf16_to_f32(halves, reinterpret_cast<float*>(y), columns);
        } else if (from == DType::f32) {
            kernels.f32_to_bf16(reinterpret_cast<const float*>(x), narrow, columns);
        } else if (to == DType::f32) {
            kernels.f16_to_f32(halves, reinterpret_cast<float*>(y), columns);
        } else {
            constexpr int64_t piece = 256;
            float wide[piece];
            for (int64_t i = 0; i < columns; i += piece) {
                const int64_t count = std::min(piece, columns - i);
                kernels.f16_to_f32(halves + i, wide, count);
                kernels.f32_to_bf16(wide, narrow + i, count);
            }
        }
    });
}

void CpuOps::download(const Tensor& source, void* host) {
    convert(kernels_, pool_, source, Tensor(host, source.dtype(), source.shape()));
}

Tensor CpuOps::upload(const void* host, DType dtype, Shape shape) {
    const Tensor result = make(dtype, shape);
    if (result.bytes() > 0) std::memcpy(result.raw(), host, result.bytes());
    return result;
}

Tensor CpuOps::cast(const Tensor& x, DType dtype) {
    const Tensor result = make(dtype, x.shape());
    convert(kernels_, pool_, x, result);
    return result;
}

Tensor CpuOps::unary(Unary function, const Tensor& x) {
    const Tensor result = make(DType::f32, x.shape());
    const int64_t columns = columns_of(x);
    UnaryKind kind = UnaryKind::silu;
    switch (function) {
        case Unary::silu:
            break;
        case Unary::sigmoid:
            kind = UnaryKind::sigmoid;
            break;
        case Unary::exp:
            kind = UnaryKind::exp;
            break;
        case Unary::negate:
            kind = UnaryKind::negate;
            break;
        case Unary::gelu_tanh:
            kind = UnaryKind::gelu_tanh;
            break;
        case Unary::softplus:
        case Unary::gelu_erf:
            for_rows(x.size(0), 8 * columns, [&](int64_t row) {
                for (int64_t i = 0; i < columns; ++i)
                    result.row<float>(row)[i] = by_library(function, x.row<float>(row)[i]);
            });
            return result;
    }
    for_rows(x.size(0), columns,
             [&](int64_t row) { kernels_.unary(kind, x.row<float>(row), result.row<float>(row), columns); });
    return result;
}

Tensor CpuOps::binary(Binary function, const Tensor& x, const Tensor& b) {
    const int64_t rows = x.size(0), columns = columns_of(x);
    const bool one_column = b.size(0) == rows && columns_of(b) == 1 && columns != 1;
    const bool one_row = b.size(0) == 1 && rows != 1 && columns_of(b) == columns;
    SHEAF_CHECK(
        one_column || one_row || b.shape() == x.shape() || (b.size(0) == rows && columns_of(b) == columns),
        "{} with {}", x.shape().to_string(), b.shape().to_string());
    const Tensor result = make(DType::f32, x.shape());
    const BinaryKind kind = kind_of(function);
    for_rows(rows, columns, [&](int64_t row) {
        const float* other = b.row<float>(one_row ? 0 : row);
        if (one_column) {
            kernels_.binary_constant(kind, x.row<float>(row), *other, result.row<float>(row), columns);
        } else {
            kernels_.binary(kind, x.row<float>(row), other, result.row<float>(row), columns);
        }
    });
    return result;
}

Tensor CpuOps::scale(const Tensor& x, float factor) {
    const Tensor result = make(DType::f32, x.shape());
    for_rows(x.size(0), columns_of(x), [&](int64_t row) {
        kernels_.binary_constant(BinaryKind::multiply, x.row<float>(row), factor, result.row<float>(row),
                                 columns_of(x));
    });
    return result;
}

Tensor CpuOps::matmul(const Tensor& a, const Tensor& b) {
    SHEAF_CHECK(a.rank() == 2 && b.rank() == 2 && a.size(1) == b.size(0), "{} x {}", a.shape().to_string(),
                b.shape().to_string());
    const Tensor result = make(DType::f32, Shape{a.size(0), b.size(1)});
    for_rows(a.size(0), a.size(1) * b.size(1), [&](int64_t row) {
        kernels_.matmul_row(a.row<float>(row), b.data<float>(), b.row_stride(), a.size(1), b.size(1),
                            result.row<float>(row));
    });
    return result;
}

Tensor CpuOps::transpose(const Tensor& x) {
    SHEAF_CHECK(x.rank() == 2);
    const int64_t rows = x.size(0), columns = x.size(1);
    const Tensor result = make(DType::f32, Shape{columns, rows});
    for_rows(columns, rows, [&](int64_t column) {
        float* out = result.row<float>(column);
        for (int64_t row = 0; row < rows; ++row) out[row] = x.row<float>(row)[column];
    });
    return result;
}

Tensor CpuOps::sum_columns(const Tensor& x) {
    const Tensor result = make(DType::f32, Shape{x.size(0), 1});
    for_rows(x.size(0), columns_of(x),
             [&](int64_t row) { *result.row<float>(row) = kernels_.sum(x.row<float>(row), columns_of(x)); });
    return result;
}

Tensor CpuOps::rsqrt(const Tensor& x, float epsilon) {
    const Tensor result = make(DType::f32, x.shape());
    for_rows(x.size(0), columns_of(x), [&](int64_t row) {
        kernels_.rsqrt(x.row<float>(row), epsilon, result.row<float>(row), columns_of(x));
    });
    return result;
}

Tensor CpuOps::softmax(const Tensor& x, const Tensor& valid) {
    const Tensor result = make(DType::f32, x.shape());
    for_rows(x.size(0), columns_of(x), [&](int64_t row) {
        const int64_t count = valid.defined() ? valid.data<int32_t>()[row] : columns_of(x);
        kernels_.softmax(x.row<float>(row), result.row<float>(row), columns_of(x), count);
    });
    return result;
}

void select_top_k(const float* values, int64_t n, int64_t k, int32_t* ids, float* best) {
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
        const float value = values[i];
        if (kept == k && !(value > best[k - 1])) continue;
        int64_t place = kept < k ? kept++ : k - 1;
        for (; place > 0 && value > best[place - 1]; --place) {
            best[place] = best[place - 1];
            ids[place] = ids[place - 1];
        }
        best[place] = value;
        ids[place] = static_cast<int32_t>(i);
    }
}

Routing CpuOps::top_k(const Tensor& probabilities, int64_t k) {
    SHEAF_CHECK(k > 0 && k <= probabilities.size(1), "{} of {}", k, probabilities.size(1));
    const int64_t rows = probabilities.size(0);
    const Routing routing{make(DType::i32, Shape{rows, k}), make(DType::f32, Shape{rows, k})};
    for_rows(rows, probabilities.size(1), [&](int64_t row) {
        select_top_k(probabilities.row<float>(row), probabilities.size(1), k, routing.ids.row<int32_t>(row),
                     routing.weights.row<float>(row));
    });
    return routing;
}

Tensor CpuOps::gather_rows(const Tensor& table, const Tensor& indices) {
    const int64_t rows = indices.elements(), columns = columns_of(table);
    const DType type = table.dtype();
    const bool is_float = type == DType::f32 || type == DType::bf16 || type == DType::f16;
    const Tensor result = make(is_float ? DType::f32 : type, Shape{rows, columns});
    const auto* numbers = static_cast<const char*>(table.raw());
    const auto size = static_cast<int64_t>(dtype_size(type));
    for_rows(rows, columns, [&](int64_t row) {
        const int64_t index = indices.data<int32_t>()[row];
        SHEAF_CHECK(index >= 0 && index < table.size(0), "row {} of {}", index, table.size(0));
        const char* source = numbers + index * table.row_stride() * size;
        if (type == DType::bf16 || type == DType::f16) {
            const auto widen = type == DType::bf16 ? kernels_.bf16_to_f32 : kernels_.f16_to_f32;
            widen(reinterpret_cast<const uint16_t*>(source), result.row<float>(row), columns);
        } else {
            std::memcpy(static_cast<char*>(result.raw()) + row * columns * size, source,
                        static_cast<size_t>(columns * size));
        }
    });
    return result;
}

void CpuOps::scatter_rows(const Tensor& destination, const Tensor& indices, const Tensor& rows) {
    const int64_t columns = columns_of(destination);
    SHEAF_CHECK(rows.size(0) == indices.elements() && columns_of(rows) == columns);
    for_rows(rows.size(0), columns, [&](int64_t row) {
        const int64_t index = indices.data<int32_t>()[row];
        SHEAF_CHECK(index >= 0 && index < destination.size(0), "row {} of {}", index, destination.size(0));
        if (destination.dtype() == DType::bf16) {
            kernels_.f32_to_bf16(rows.row<float>(row),
                                 reinterpret_cast<uint16_t*>(destination.row<bfloat16>(index)), columns);
        } else {
            SHEAF_CHECK(rows.dtype() == destination.dtype());
            const auto size = static_cast<int64_t>(dtype_size(rows.dtype()));
            std::memcpy(static_cast<char*>(destination.raw()) + index * destination.row_stride() * size,
                        static_cast<const char*>(rows.raw()) + row * rows.row_stride() * size,
                        static_cast<size_t>(columns * size));
        }
    });
}

Tensor CpuOps::concat_columns(std::span<const Tensor> parts) {
    SHEAF_CHECK(!parts.empty());
    int64_t columns = 0;
    for (const Tensor& part : parts) columns += columns_of(part);
    const Tensor result = make(DType::f32, Shape{parts.front().size(0), columns});
    for_rows(result.size(0), columns, [&](int64_t row) {
        float* out = result.row<float>(row);
        for (const Tensor& part : parts) {
            std::memcpy(out, part.row<float>(row), static_cast<size_t>(columns_of(part)) * sizeof(float));
            out += columns_of(part);
        }
    });
    return result;
}

std::pair<Tensor, Tensor> CpuOps::rotary_angles(const Tensor& positions, const Rotary& rotary) {
    const int64_t tokens = positions.size(1), count = rotary.frequencies.size(0);
    const Tensor cosine = make(DType::f32, Shape{tokens, count}),
                 sine = make(DType::f32, Shape{tokens, count});
    const float* frequencies = rotary.frequencies.data<float>();
    const int32_t* axes = rotary.axes.data<int32_t>();
    for_rows(tokens, 32 * count, [&](int64_t token) {
        for (int64_t i = 0; i < count; ++i) {
            const float angle = static_cast<float>(positions.row<int32_t>(axes[i])[token]) * frequencies[i];
            const auto c = static_cast<float>(std::cos(static_cast<double>(angle)));
            const auto s = static_cast<float>(std::sin(static_cast<double>(angle)));
            cosine.row<float>(token)[i] = c * rotary.scale;
            sine.row<float>(token)[i] = s * rotary.scale;
        }
    });
    return {cosine, sine};
}

}  // namespace sheaf::cpu
