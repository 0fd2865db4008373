#include "backend/cuda/matrix/matrix.h"

#include <algorithm>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/plain.h"
#include "backend/cuda/matrix/router.h"

namespace sheaf::cuda {
namespace {

bool is_activation(const Tensor& x) {
    return x.rank() == 2 && (x.dtype() == DType::bf16 || x.dtype() == DType::f32);
}

/// Rows that kernels read 16 bytes at a time.
bool in_vectors(const Tensor& x) {
    return x.dtype() == DType::bf16 && reinterpret_cast<uintptr_t>(x.raw()) % 16 == 0 &&
           x.row_stride() % 8 == 0 && x.size(1) % 8 == 0;
}

/// Cuts a scratch tensor into aligned parts.
class Cutter {
  public:
    explicit Cutter(const Tensor& scratch) : at_(static_cast<uint8_t*>(scratch.raw())) {
        if (scratch.defined()) end_ = at_ + scratch.bytes();
    }
    template <class T>
    T* take(int64_t count) {
        auto* part = reinterpret_cast<T*>(at_);
        at_ += padded(static_cast<size_t>(count) * sizeof(T));
        SHEAF_CHECK(at_ <= end_, "too little scratch");
        return part;
    }
    static size_t padded(size_t bytes) { return (bytes + 255) / 256 * 256; }

  private:
    uint8_t *at_ = nullptr, *end_ = nullptr;
};

bool router_in_one(const DeviceMatrix& w, const Tensor& x) {
    return w.store == Store::bf16 && in_vectors(x) && x.size(0) <= max_fused_router_tokens;
}

}  // namespace

size_t linear_scratch_bytes(const CudaLinear&, int64_t) {
    return 0;
}

void linear(const Tensor& x, const CudaLinear& weight, const Tensor& y, const Tensor&, cudaStream_t stream) {
    SHEAF_CHECK(is_activation(x) && is_activation(y) && x.size(1) == weight.in && y.size(1) == weight.out &&
                    x.size(0) == y.size(0),
                "{} by ({}, {}) to {}", x.shape().to_string(), weight.out, weight.in, y.shape().to_string());
    if (x.size(0) == 0) return;
    launch_plain_linear(x, weight.matrix(), y, stream);
}

size_t route_scratch_bytes(const CudaLinear& router, int64_t tokens) {
    return Cutter::padded(static_cast<size_t>(tokens * router.out) * sizeof(float)) +
           linear_scratch_bytes(router, tokens);
}

void route(const Tensor& x, const CudaLinear& router, int64_t top_k, const Routing& result,
           const Tensor& scratch, cudaStream_t stream) {
    SHEAF_CHECK(is_activation(x) && x.size(1) == router.in && top_k >= 1 && top_k <= max_top_k &&
                    top_k <= router.out && router.out <= max_router_experts,
                "{} to {} of {} experts", x.shape().to_string(), top_k, router.out);
    const int64_t tokens = x.size(0);
    if (tokens == 0) return;
    auto* ids = result.ids.data<int32_t>();
    auto* weights = result.weights.data<float>();
    Cutter parts(scratch);
    float* logits = parts.take<float>(tokens * router.out);
    if (router_in_one(router.matrix(), x))
        return launch_router(x, router.matrix(), top_k, logits, router.counters(), ids, weights, stream);
    const auto used =
        static_cast<int64_t>(Cutter::padded(static_cast<size_t>(tokens * router.out) * sizeof(float)));
    const auto all = static_cast<int64_t>(scratch.bytes());
    Tensor rest;
    if (all > used) rest = Tensor(static_cast<uint8_t*>(scratch.raw()) + used, DType::u8, Shape{all - used});
    linear(x, router, Tensor(logits, DType::f32, Shape{tokens, router.out}), rest, stream);
    launch_top_k(logits, tokens, router.out, top_k, ids, weights, stream);
}

size_t moe_scratch_bytes(const CudaExperts& experts, int64_t tokens, int64_t top_k) {
    return Cutter::padded(static_cast<size_t>(tokens * top_k * experts.intermediate) * sizeof(float));
}

void moe(const Tensor& x, const Routing& routing, const CudaExperts& experts, const Tensor& y,
         const Tensor& scratch, cudaStream_t stream) {
    SHEAF_CHECK(is_activation(x) && x.size(1) == experts.hidden && y.shape() == x.shape() &&
                    routing.ids.size(0) == x.size(0) && routing.ids.contiguous() &&
                    routing.weights.contiguous(),
                "{} through experts of {}", x.shape().to_string(), experts.hidden);
    const int64_t tokens = x.size(0), top_k = routing.ids.size(1);
    if (tokens == 0) return;
    Cutter parts(scratch);
    float* act = parts.take<float>(tokens * top_k * experts.intermediate);
    launch_plain_gate_up(x, routing.ids.data<int32_t>(), top_k, experts.device(), act, stream);
    launch_plain_down(act, routing.ids.data<int32_t>(), routing.weights.data<float>(), top_k,
                      experts.device(), y, stream);
}

size_t expert_scratch_bytes(const CudaExperts& experts, int64_t tokens) {
    return 2 * Cutter::padded(static_cast<size_t>(tokens) * 4) + moe_scratch_bytes(experts, tokens, 1);
}

void expert(const Tensor& x, const CudaExperts& experts, int64_t index, const Tensor& y,
            const Tensor& scratch, cudaStream_t stream) {
    SHEAF_CHECK(index >= 0 && index < experts.count, "expert {} of {}", index, experts.count);
    const int64_t tokens = x.size(0);
    Cutter parts(scratch);
    const Routing routing{Tensor(parts.take<int32_t>(tokens), DType::i32, Shape{tokens, 1}),
                          Tensor(parts.take<float>(tokens), DType::f32, Shape{tokens, 1})};
    launch_one_expert(routing.ids.data<int32_t>(), routing.weights.data<float>(), tokens,
                      static_cast<int32_t>(index), stream);
    const auto left = static_cast<int64_t>(moe_scratch_bytes(experts, tokens, 1));
    moe(x, routing, experts, y, Tensor(parts.take<uint8_t>(left), DType::u8, Shape{left}), stream);
}

}  // namespace sheaf::cuda
