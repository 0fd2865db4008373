// Norms, gates and routing: operators that work row by row.
#include <algorithm>
#include <cstring>

#include "backend/cpu/cpu_ops.h"

namespace sheaf::cpu {

Tensor CpuOps::rms_norm(const Tensor& x, const Norm& norm) {
    const int64_t dim = norm.weight.size(0);
    SHEAF_CHECK(x.size(1) % dim == 0, "{} columns, a norm over {}", x.size(1), dim);
    const Tensor result = make(DType::f32, Shape{x.size(0), x.size(1)});
    const float* weight = norm.weight.data<float>();
    for_rows(x.size(0), x.size(1), [&](int64_t row) {
        for (int64_t at = 0; at < x.size(1); at += dim)
            kernels_.rms_norm(x.row<float>(row) + at, weight, 1.0f, norm.epsilon, result.row<float>(row) + at,
                              dim);
    });
    return result;
}

std::pair<Tensor, Tensor> CpuOps::add_rms_norm(const Tensor& x, const Tensor& residual, const Norm& norm) {
    const int64_t dim = norm.weight.size(0);
    SHEAF_CHECK(x.shape() == residual.shape() && x.size(1) % dim == 0);
    const Tensor sum = make(DType::f32, x.shape()), normal = make(DType::f32, x.shape());
    const float* weight = norm.weight.data<float>();
    for_rows(x.size(0), x.size(1), [&](int64_t row) {
        kernels_.binary(BinaryKind::add, x.row<float>(row), residual.row<float>(row), sum.row<float>(row),
                        x.size(1));
        for (int64_t at = 0; at < x.size(1); at += dim)
            kernels_.rms_norm(sum.row<float>(row) + at, weight, 1.0f, norm.epsilon,
                              normal.row<float>(row) + at, dim);
    });
    return {normal, sum};
}

Tensor CpuOps::gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm) {
    const int64_t dim = norm.weight.size(0);
    SHEAF_CHECK(x.shape() == gate.shape() && x.size(1) % dim == 0);
    const Tensor result = make(DType::f32, x.shape());
    const float* weight = norm.weight.data<float>();
    for_rows(x.size(0), 2 * x.size(1), [&](int64_t row) {
        float* out = result.row<float>(row);
        for (int64_t at = 0; at < x.size(1); at += dim)
            kernels_.rms_norm(x.row<float>(row) + at, weight, 0.0f, norm.epsilon, out + at, dim);
        kernels_.multiply_silu(out, gate.row<float>(row), out, x.size(1));
    });
    return result;
}

Tensor CpuOps::l2_norm(const Tensor& x, int64_t head_dim, float epsilon) {
    SHEAF_CHECK(x.size(1) % head_dim == 0);
    const Tensor result = make(DType::f32, x.shape());
    for_rows(x.size(0), x.size(1), [&](int64_t row) {
        for (int64_t at = 0; at < x.size(1); at += head_dim)
            kernels_.l2_norm(x.row<float>(row) + at, epsilon, result.row<float>(row) + at, head_dim);
    });
    return result;
}

Tensor CpuOps::swiglu(const Tensor& gate, const Tensor& up) {
    SHEAF_CHECK(gate.shape() == up.shape());
    const Tensor result = make(DType::f32, gate.shape());
    for_rows(gate.size(0), gate.size(1), [&](int64_t row) {
        kernels_.swiglu(gate.row<float>(row), up.row<float>(row), result.row<float>(row), gate.size(1));
    });
    return result;
}

Tensor CpuOps::rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary) {
    const int64_t frequencies = rotary.frequencies.size(0);
    SHEAF_CHECK(x.size(1) % head_dim == 0 && 2 * frequencies <= head_dim && positions.size(1) == x.size(0));
    const auto [cosine, sine] = rotary_angles(positions, rotary);
    const Tensor result = make(DType::f32, x.shape());
    const Tensor &c = cosine, &s = sine;
    for_rows(x.size(0), x.size(1), [&](int64_t row) {
        for (int64_t at = 0; at < x.size(1); at += head_dim)
            kernels_.rotate(x.row<float>(row) + at, c.row<float>(row), s.row<float>(row), frequencies,
                            head_dim, result.row<float>(row) + at);
    });
    return result;
}

Routing CpuOps::route(const Tensor& x, const Linear& router, int64_t k) {
    const Tensor logits = product(exact_, x, router);
    const int64_t rows = logits.size(0), experts = logits.size(1);
    SHEAF_CHECK(k > 0 && k <= experts, "{} of {} experts", k, experts);
    const Routing routing{make(DType::i32, Shape{rows, k}), make(DType::f32, Shape{rows, k})};
    for_rows(rows, 8 * experts, [&](int64_t row) {
        float *probabilities = logits.row<float>(row), *weights = routing.weights.row<float>(row);
        kernels_.softmax(probabilities, probabilities, experts, experts);
        select_top_k(probabilities, experts, k, routing.ids.row<int32_t>(row), weights);
        float sum = 0;
        for (int64_t i = 0; i < k; ++i) sum += weights[i];
        for (int64_t i = 0; i < k; ++i) weights[i] /= sum;
    });
    return routing;
}

}  // namespace sheaf::cpu
