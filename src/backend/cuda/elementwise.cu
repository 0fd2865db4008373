// Element by element: one thread per number.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix_view.cuh"
#include "backend/cuda/primitives.h"
#include "backend/cuda/row_vectors.h"

namespace sheaf::cuda {
namespace {

/// f(row, column) for every element of a matrix of `columns` columns.
template <class F>
__global__ void __launch_bounds__(threads_per_block) each_element(int64_t elements, int64_t columns, F f) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * threads_per_block + threadIdx.x;
    if (i >= elements) return;
    const int64_t row = i / columns;
    f(row, i - row * columns);
}

template <class F>
void launch(const Tensor& result, const F& f, const char* what, cudaStream_t stream) {
    const int64_t elements = result.elements();
    if (elements == 0) return;
    each_element<<<blocks_for(elements), threads_per_block, 0, stream>>>(elements, elements / result.size(0),
                                                                         f);
    check_launch(what);
}

template <class From, class To>
struct Convert {
    MatrixView<const From> x;
    MatrixView<To> y;
    __device__ void operator()(int64_t r, int64_t c) const {
        y.at(r, c) = from_float<To>(to_float(x.at(r, c)));
    }
};

template <class T>
struct Copy {
    MatrixView<const T> x;
    MatrixView<T> y;
    __device__ void operator()(int64_t r, int64_t c) const { y.at(r, c) = x.at(r, c); }
};

__device__ float apply(Unary function, float x) {
    switch (function) {
        case Unary::silu:
            return x * sigmoid(x);
        case Unary::sigmoid:
            return sigmoid(x);
        case Unary::softplus:
            return x > 20.0f ? x : log1pf(expf(x));
        case Unary::exp:
            return expf(x);
        case Unary::negate:
            return -x;
        case Unary::gelu_tanh:
            return 0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
        case Unary::gelu_erf:
            return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    }
    return NAN;
}

template <class T>
struct ApplyUnary {
    Unary function;
    MatrixView<const T> x;
    MatrixView<T> y;
    __device__ void operator()(int64_t r, int64_t c) const {
        y.at(r, c) = from_float<T>(apply(function, to_float(x.at(r, c))));
    }
};

template <class A, class B, class C>
struct ApplyBinary {
    Binary function;
    MatrixView<const A> x;
    MatrixView<const B> b;  // a stride of 0 repeats its one row
    int64_t column_step;    // 0 repeats its one column
    MatrixView<C> y;
    __device__ void operator()(int64_t r, int64_t c) const {
        const float left = to_float(x.at(r, c)), right = to_float(b.at(r, c * column_step));
        const float value = function == Binary::add        ? left + right
                            : function == Binary::subtract ? left - right
                                                           : left * right;
        y.at(r, c) = from_float<C>(value);
    }
};

template <class T>
struct Scale {
    MatrixView<const T> x;
    float factor;
    MatrixView<T> y;
    __device__ void operator()(int64_t r, int64_t c) const {
        y.at(r, c) = from_float<T>(to_float(x.at(r, c)) * factor);
    }
};

template <class T>
struct InverseRoot {
    MatrixView<const T> x;
    float epsilon;
    MatrixView<float> y;
    __device__ void operator()(int64_t r, int64_t c) const {
        y.at(r, c) = 1.0f / sqrtf(to_float(x.at(r, c)) + epsilon);
    }
};

template <class T>
struct Transpose {
    MatrixView<const T> x;
    MatrixView<T> y;
    __device__ void operator()(int64_t r, int64_t c) const { y.at(r, c) = x.at(c, r); }
};

template <class From, class To>
struct Gather {
    MatrixView<const From> table;
    const int32_t* indices;
    MatrixView<To> y;
    __device__ void operator()(int64_t r, int64_t c) const {
        const int64_t row = indices[r];
        const bool inside = row >= 0 && row < table.rows;
        y.at(r, c) = from_float<To>(inside ? to_float(table.at(row, c)) : NAN);
    }
};

struct GatherIntegers {
    MatrixView<const int32_t> table;
    const int32_t* indices;
    MatrixView<int32_t> y;
    __device__ void operator()(int64_t r, int64_t c) const {
        const int64_t row = indices[r];
        y.at(r, c) = row >= 0 && row < table.rows ? table.at(row, c) : -1;
    }
};

template <class From, class To>
struct Scatter {
    MatrixView<const From> rows;
    const int32_t* indices;
    MatrixView<To> destination;
    __device__ void operator()(int64_t r, int64_t c) const {
        const int64_t row = indices[r];
        if (row >= 0 && row < destination.rows)
            destination.at(row, c) = from_float<To>(to_float(rows.at(r, c)));
    }
};

}  // namespace

void convert(const Tensor& x, const Tensor& result, cudaStream_t stream) {
    SHEAF_CHECK(x.elements() == result.elements());
    if (x.dtype() == result.dtype() && dtype_size(x.dtype()) == 4)
        return launch(result, Copy<uint32_t>{MatrixView<const uint32_t>(x), MatrixView<uint32_t>(result)},
                      "copy", stream);
    if (x.dtype() == result.dtype() && dtype_size(x.dtype()) == 2)
        return launch(result, Copy<uint16_t>{MatrixView<const uint16_t>(x), MatrixView<uint16_t>(result)},
                      "copy", stream);
    if (x.dtype() == result.dtype() && dtype_size(x.dtype()) == 1)
        return launch(result, Copy<uint8_t>{MatrixView<const uint8_t>(x), MatrixView<uint8_t>(result)},
                      "copy", stream);
    with_float(x.dtype(), [&](auto from) {
        with_float(result.dtype(), [&](auto to) {
            using From = decltype(from);
            using To = decltype(to);
            launch(result, Convert<From, To>{MatrixView<const From>(x), MatrixView<To>(result)}, "convert",
                   stream);
        });
    });
}

void unary(Unary function, const Tensor& x, const Tensor& result, cudaStream_t stream) {
    SHEAF_CHECK(x.dtype() == result.dtype());
    with_float(x.dtype(), [&](auto type) {
        using T = decltype(type);
        launch(result, ApplyUnary<T>{function, MatrixView<const T>(x), MatrixView<T>(result)}, "unary",
               stream);
    });
}

void binary(Binary function, const Tensor& x, const Tensor& b, const Tensor& result, cudaStream_t stream) {
    const MatrixView<const char> left(x), right(b);
    const bool one_row = right.rows == 1 && left.rows != 1,
               one_column = right.columns == 1 && left.columns != 1;
    SHEAF_CHECK((one_row || right.rows == left.rows) && (one_column || right.columns == left.columns),
                "{} with {}", x.shape().to_string(), b.shape().to_string());
    with_float(x.dtype(), [&](auto a_type) {
        with_float(b.dtype(), [&](auto b_type) {
            with_float(result.dtype(), [&](auto c_type) {
                using A = decltype(a_type);
                using B = decltype(b_type);
                using C = decltype(c_type);
                ApplyBinary<A, B, C> work{function, MatrixView<const A>(x), MatrixView<const B>(b),
                                          one_column ? 0 : 1, MatrixView<C>(result)};
                if (one_row) work.b.stride = 0;
                launch(result, work, "binary", stream);
            });
        });
    });
}

void scale(const Tensor& x, float factor, const Tensor& result, cudaStream_t stream) {
    SHEAF_CHECK(x.dtype() == result.dtype());
    with_float(x.dtype(), [&](auto type) {
        using T = decltype(type);
        launch(result, Scale<T>{MatrixView<const T>(x), factor, MatrixView<T>(result)}, "scale", stream);
    });
}

void rsqrt(const Tensor& x, float epsilon, const Tensor& result, cudaStream_t stream) {
    with_float(x.dtype(), [&](auto type) {
        using T = decltype(type);
        launch(result, InverseRoot<T>{MatrixView<const T>(x), epsilon, MatrixView<float>(result)}, "rsqrt",
               stream);
    });
}

void transpose(const Tensor& x, const Tensor& result, cudaStream_t stream) {
    SHEAF_CHECK(x.dtype() == result.dtype());
    with_float(x.dtype(), [&](auto type) {
        using T = decltype(type);
        launch(result, Transpose<T>{MatrixView<const T>(x), MatrixView<T>(result)}, "transpose", stream);
    });
}

void place_columns(const Tensor& x, const Tensor& result, int64_t first, cudaStream_t stream) {
    with_float(x.dtype(), [&](auto from) {
        with_float(result.dtype(), [&](auto to) {
            using From = decltype(from);
            using To = decltype(to);
            Convert<From, To> work{MatrixView<const From>(x), MatrixView<To>(result)};
            work.y.data += first;
            launch(x, work, "concat_columns", stream);
        });
    });
}

void gather_rows(const Tensor& table, const Tensor& indices, const Tensor& result, cudaStream_t stream) {
    const auto* rows = indices.data<int32_t>();
    if (gather_vectors(table, indices, result, stream)) return;
    if (table.dtype() == DType::i32)
        return launch(result,
                      GatherIntegers{MatrixView<const int32_t>(table), rows, MatrixView<int32_t>(result)},
                      "gather_rows", stream);
    with_float(table.dtype(), [&](auto from) {
        with_float(result.dtype(), [&](auto to) {
            using From = decltype(from);
            using To = decltype(to);
            launch(result, Gather<From, To>{MatrixView<const From>(table), rows, MatrixView<To>(result)},
                   "gather_rows", stream);
        });
    });
}

void scatter_rows(const Tensor& destination, const Tensor& indices, const Tensor& rows, cudaStream_t stream) {
    SHEAF_CHECK(indices.elements() == rows.size(0));
    with_float(rows.dtype(), [&](auto from) {
        with_float(destination.dtype(), [&](auto to) {
            using From = decltype(from);
            using To = decltype(to);
            launch(rows,
                   Scatter<From, To>{MatrixView<const From>(rows), indices.data<int32_t>(),
                                     MatrixView<To>(destination)},
                   "scatter_rows", stream);
        });
    });
}

}  // namespace sheaf::cuda
