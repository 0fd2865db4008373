// What tests that compare machines share: a machine with its operators, and tensors going in and out of it.
// Tests only.
#pragma once

#include <memory>
#include <vector>

#include "backend/cpu/testing.h"
#include "backend/cuda/cuda_machine.h"
#include "ops/ops.h"

namespace sheaf::cuda::testing {

/// A machine with its operators, and tensors going in and out.
struct Side {
    std::unique_ptr<Machine> machine;
    std::unique_ptr<Ops> ops;
    std::vector<Buffer> buffers;
    bool definition = false;  // operators by their defining bodies

    explicit Side(std::unique_ptr<Machine> m) : machine(std::move(m)), ops(machine->make_ops()) {}

    /// As it is.
    Tensor put(const HostTensor& x) { return put(x, x.view.dtype()); }
    Tensor put(const HostTensor& x, DType dtype) {
        buffers.push_back(machine->upload(x.view, dtype));
        return buffers.back().tensor(dtype, x.view.shape());
    }
    /// As activations.
    Tensor act(const HostTensor& x) { return put(x, ops->activation_dtype()); }
    /// Pages of keys or values.
    Tensor pages(const HostTensor& x) {
        return put(x, machine->compute_type() == ComputeType::f32 ? DType::f32 : DType::bf16);
    }
    std::vector<float> get(const Tensor& x) {
        const int64_t rows = x.size(0), columns = rows == 0 ? 0 : x.elements() / rows;
        const Tensor matrix = x.rank() == 2 ? x : x.view(Shape{rows, columns});
        const Tensor whole = x.dtype() == DType::i32 ? matrix : ops->cast(matrix, DType::f32);
        std::vector<float> values(static_cast<size_t>(x.elements()));
        if (x.dtype() == DType::i32) {
            std::vector<int32_t> whole_numbers(values.size());
            ops->download(whole, whole_numbers.data());
            values.assign(whole_numbers.begin(), whole_numbers.end());
        } else {
            ops->download(whole, values.data());
        }
        return values;
    }
};

/// x as the type of activations keeps it, so that both sides start from the same numbers.
inline HostTensor activations(ComputeType compute, Shape shape, uint64_t key, double scale = 1.0) {
    HostTensor x = cpu::testing::random_tensor(DType::f32, shape, key, scale);
    if (compute == ComputeType::bf16)
        for (int64_t i = 0; i < shape.elements(); ++i)
            x.view.data<float>()[i] = static_cast<float>(bfloat16(x.view.data<float>()[i]));
    return x;
}

}  // namespace sheaf::cuda::testing
