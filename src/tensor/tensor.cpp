#include "tensor/tensor.h"

namespace sheaf {

std::string Shape::to_string() const {
    std::string text = "(";
    for (int i = 0; i < rank_; ++i) text += fmt::format("{}{}", i ? ", " : "", sizes_[i]);
    return text + ")";
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
    SHEAF_CHECK(rank() >= 1 && 0 <= begin && begin <= end && end <= size(0), "rows {}..{} of {}", begin, end,
                shape_.to_string());
    Tensor part = *this;
    std::array<int64_t, Shape::max_rank> sizes{};
    for (int i = 0; i < rank(); ++i) sizes[i] = shape_[i];
    sizes[0] = end - begin;
    part.shape_ = Shape(std::span<const int64_t>(sizes.data(), static_cast<size_t>(rank())));
    part.data_ = static_cast<char*>(data_) + begin * row_stride_ * static_cast<int64_t>(dtype_size(dtype_));
    return part;
}

Tensor Tensor::columns(int64_t begin, int64_t end) const {
    SHEAF_CHECK(rank() == 2 && 0 <= begin && begin <= end && end <= size(1), "columns {}..{} of {}", begin,
                end, shape_.to_string());
    Tensor part = *this;
    part.shape_ = Shape{size(0), end - begin};
    part.data_ = static_cast<char*>(data_) + begin * static_cast<int64_t>(dtype_size(dtype_));
    return part;
}

Tensor Tensor::view(Shape shape) const {
    SHEAF_CHECK(shape.elements() == elements(), "view {} of {}", shape.to_string(), shape_.to_string());
    Tensor other = *this;
    other.shape_ = shape;
    if (contiguous()) {
        other.row_stride_ = inner_elements(shape);
    } else {
        SHEAF_CHECK(shape.rank() >= 2 && shape[0] == size(0), "view {} of strided {}", shape.to_string(),
                    shape_.to_string());
    }
    return other;
}

}  // namespace sheaf
