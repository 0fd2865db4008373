// HostTensor: a view of host memory together with whatever keeps that memory alive (a mapped shard, a
// buffer). What checkpoints hand to the weight formats and these to the back ends. Must not know where the
// numbers came from.
#pragma once

#include <memory>

#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace sheaf {

struct HostTensor {
    Tensor view;
    std::shared_ptr<const void> owner;

    HostTensor() = default;
    HostTensor(Tensor tensor, std::shared_ptr<const void> keep) : view(tensor), owner(std::move(keep)) {}
    /// Fresh zeroed host memory.
    HostTensor(DType dtype, Shape shape) {
        auto buffer =
            std::make_shared<Buffer>(Buffer::host(static_cast<size_t>(shape.elements()) * dtype_size(dtype)));
        view = buffer->tensor(dtype, shape);
        owner = buffer;
    }

    bool defined() const { return view.defined(); }
    HostTensor columns(int64_t begin, int64_t end) const { return {view.columns(begin, end), owner}; }
    HostTensor rows(int64_t begin, int64_t end) const { return {view.rows(begin, end), owner}; }
};

}  // namespace sheaf
