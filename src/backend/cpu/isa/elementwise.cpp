// Element by element, and conversions of numbers. Tails run through masked lanes, so a number's result does
// not depend on where it stands.
#include "backend/cpu/isa/kernel_units.h"
#include "backend/cpu/isa/vector_math.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

template <class F>
SHEAF_SIMD void map(const float* x, float* y, int64_t n, F f) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) store(y + i, f(load(x + i)));
    if (i < n) store_n(y + i, f(load_n(x + i, n - i)), n - i);
}

template <class F>
SHEAF_SIMD void map2(const float* a, const float* b, float* y, int64_t n, F f) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) store(y + i, f(load(a + i), load(b + i)));
    if (i < n) store_n(y + i, f(load_n(a + i, n - i), load_n(b + i, n - i)), n - i);
}

/// 16-bit tails go through a small copy.
template <class Load>
SHEAF_SIMD void widen(const uint16_t* x, float* y, int64_t n, Load load16) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) store(y + i, load16(x + i));
    if (i == n) return;
    uint16_t tail[lanes] = {};
    for (int64_t j = i; j < n; ++j) tail[j - i] = x[j];
    store_n(y + i, load16(tail), n - i);
}

}  // namespace

void bf16_to_f32(const uint16_t* x, float* y, int64_t n) {
    widen(x, y, n, [](const uint16_t* p) { return load_bf16(p); });
}

void f16_to_f32(const uint16_t* x, float* y, int64_t n) {
    widen(x, y, n, [](const uint16_t* p) { return load_f16(p); });
}

void f32_to_bf16(const float* x, uint16_t* y, int64_t n) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) store_bf16(y + i, load(x + i));
    if (i == n) return;
    uint16_t tail[lanes];
    store_bf16(tail, load_n(x + i, n - i));
    for (int64_t j = i; j < n; ++j) y[j] = tail[j - i];
}

void unary(UnaryKind kind, const float* x, float* y, int64_t n) {
    switch (kind) {
        case UnaryKind::silu:
            return map(x, y, n, [](f32x16 v) { return silu(v); });
        case UnaryKind::sigmoid:
            return map(x, y, n, [](f32x16 v) { return sigmoid(v); });
        case UnaryKind::exp:
            return map(x, y, n, [](f32x16 v) { return exp(v); });
        case UnaryKind::negate:
            return map(x, y, n, [](f32x16 v) { return mul(v, set1(-1.0f)); });
        case UnaryKind::gelu_tanh:  // (1 + tanh u) / 2 = sigmoid(2 u)
            return map(x, y, n, [](f32x16 v) {
                const f32x16 cubic = fma(mul(set1(0.044715f), mul(v, v)), v, v);
                return mul(v, sigmoid(mul(set1(1.5957691216f), cubic)));  // 2 sqrt(2 / pi)
            });
    }
}

void binary(BinaryKind kind, const float* x, const float* b, float* y, int64_t n) {
    switch (kind) {
        case BinaryKind::add:
            return map2(x, b, y, n, [](f32x16 p, f32x16 q) { return add(p, q); });
        case BinaryKind::subtract:
            return map2(x, b, y, n, [](f32x16 p, f32x16 q) { return sub(p, q); });
        case BinaryKind::multiply:
            return map2(x, b, y, n, [](f32x16 p, f32x16 q) { return mul(p, q); });
    }
}

void binary_constant(BinaryKind kind, const float* x, float b, float* y, int64_t n) {
    const f32x16 q = set1(b);
    switch (kind) {
        case BinaryKind::add:
            return map(x, y, n, [q](f32x16 p) { return add(p, q); });
        case BinaryKind::subtract:
            return map(x, y, n, [q](f32x16 p) { return sub(p, q); });
        case BinaryKind::multiply:
            return map(x, y, n, [q](f32x16 p) { return mul(p, q); });
    }
}

void swiglu(const float* gate, const float* up, float* y, int64_t n) {
    map2(gate, up, y, n, [](f32x16 g, f32x16 u) { return mul(silu(g), u); });
}

void add_scaled(float factor, const float* x, float* y, int64_t n) {
    const f32x16 f = set1(factor);
    map2(x, y, y, n, [f](f32x16 v, f32x16 sum) { return fma(f, v, sum); });
}

void multiply_sigmoid(const float* x, const float* gate, float* y, int64_t n) {
    map2(x, gate, y, n, [](f32x16 v, f32x16 g) { return mul(v, sigmoid(g)); });
}

void multiply_silu(const float* x, const float* gate, float* y, int64_t n) {
    map2(x, gate, y, n, [](f32x16 v, f32x16 g) { return mul(v, silu(g)); });
}

void rsqrt(const float* x, float epsilon, float* y, int64_t n) {
    const f32x16 e = set1(epsilon);
    map(x, y, n, [e](f32x16 v) { return div(set1(1.0f), sqrt(add(v, e))); });
}

}  // namespace sheaf::cpu::SHEAF_ISA
