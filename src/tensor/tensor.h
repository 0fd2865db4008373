// Tensor: a non-owning view of numbers somewhere (host or device memory). Inner dimensions are
// contiguous; only the first may have a stride of its own, so that columns of a projection can be passed on
// without a copy. Used by every layer from weights upwards. Must not know who owns the memory.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/error.h"
#include "tensor/dtype.h"

namespace sheaf {

class Shape {
  public:
    static constexpr int max_rank = 8;  // the limit for checkpoint tensors; operators use at most four

    Shape() = default;
    Shape(std::initializer_list<int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
    explicit Shape(std::span<const int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
        SHEAF_CHECK(rank_ <= max_rank, "rank {}", rank_);
        for (int i = 0; i < rank_; ++i) sizes_[i] = sizes[i];
    }

    int rank() const { return rank_; }
    int64_t operator[](int i) const { return sizes_[i < 0 ? i + rank_ : i]; }
    int64_t elements() const {
        int64_t count = 1;
        for (int i = 0; i < rank_; ++i) count *= sizes_[i];
        return count;
    }
    bool operator==(const Shape&) const = default;
    std::string to_string() const;  // "(2, 3)"

  private:
    std::array<int64_t, max_rank> sizes_{};
    int rank_ = 0;
};

class Tensor {
  public:
    Tensor() = default;
    Tensor(void* data, DType dtype, Shape shape)
        : data_(data), dtype_(dtype), shape_(shape), row_stride_(inner_elements(shape)) {}

    bool defined() const { return data_ != nullptr; }
    DType dtype() const { return dtype_; }
    const Shape& shape() const { return shape_; }
    int rank() const { return shape_.rank(); }
    int64_t size(int i) const { return shape_[i]; }
    int64_t elements() const { return shape_.elements(); }
    size_t bytes() const { return static_cast<size_t>(elements()) * dtype_size(dtype_); }
    /// Elements from the start of one entry of the first dimension to the next.
    int64_t row_stride() const { return row_stride_; }
    bool contiguous() const { return row_stride_ == inner_elements(shape_) || size(0) <= 1; }

    void* raw() const { return data_; }
    /// Typed access; a wrong T is a programmer's mistake.
    template <class T>
    T* data() const {
        SHEAF_CHECK(dtype_ == DTypeOf<T>::value, "tensor is {}", dtype_name(dtype_));
        return static_cast<T*>(data_);
    }
    template <class T>
    T* row(int64_t i) const {
        return data<T>() + i * row_stride_;
    }

    /// Entries [begin, end) of the first dimension.
    Tensor rows(int64_t begin, int64_t end) const;
    /// Columns [begin, end) of a matrix; keeps the row stride.
    Tensor columns(int64_t begin, int64_t end) const;
    /// The same numbers under another shape. Splitting the inner dimension of a strided matrix is allowed
    /// ((tokens, heads * dim) -> (tokens, heads, dim)); anything else needs contiguous().
    Tensor view(Shape shape) const;

  private:
    static int64_t inner_elements(const Shape& shape) {
        int64_t count = 1;
        for (int i = 1; i < shape.rank(); ++i) count *= shape[i];
        return count;
    }

    void* data_ = nullptr;
    DType dtype_ = DType::f32;
    Shape shape_;
    int64_t row_stride_ = 0;
};

}  // namespace sheaf
