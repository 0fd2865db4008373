// Kernels over one row: norms, softmax, rotation, row by matrix, and the two that measure the machine. Sums
// run in four interleaved chains of sixteen lanes, then a fixed tree.
#include "backend/cpu/isa/kernel_units.h"
#include "backend/cpu/isa/vector_math.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

/// Sum over i of f(accumulator, x[i]): vector i goes to chain i mod 4.
template <class F>
SHEAF_SIMD float reduce(const float* x, int64_t n, F f) {
    f32x16 chain[4] = {zero(), zero(), zero(), zero()};
    int64_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes)
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) chain[c] = f(chain[c], load(x + i + c * lanes));
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c)
        if (i + c * lanes < n) chain[c] = f(chain[c], load_n(x + i + c * lanes, n - i - c * lanes));
    return sum_lanes(add(add(chain[0], chain[1]), add(chain[2], chain[3])));
}

float sum_of_squares(const float* x, int64_t n) {
    return reduce(x, n, [](f32x16 total, f32x16 v) { return fma(v, v, total); });
}

}  // namespace

float sum(const float* x, int64_t n) {
    return reduce(x, n, [](f32x16 total, f32x16 v) { return add(total, v); });
}

void rms_norm(const float* x, const float* weight, float offset, float epsilon, float* y, int64_t n) {
    const float mean = sum_of_squares(x, n) / static_cast<float>(n);
    const f32x16 factor = set1(1.0f / __builtin_sqrtf(mean + epsilon)), shift = set1(offset);
    for (int64_t i = 0; i < n; i += lanes) {
        const f32x16 normal = mul(load_n(x + i, n - i), factor);
        store_n(y + i, mul(normal, add(shift, load_n(weight + i, n - i))), n - i);
    }
}

void l2_norm(const float* x, float epsilon, float* y, int64_t n) {
    const f32x16 factor = set1(1.0f / __builtin_sqrtf(sum_of_squares(x, n) + epsilon));
    for (int64_t i = 0; i < n; i += lanes) store_n(y + i, mul(load_n(x + i, n - i), factor), n - i);
}

void softmax(const float* x, float* y, int64_t n, int64_t valid) {
    if (valid > n) valid = n;
    for (int64_t i = valid > 0 ? valid : 0; i < n; ++i) y[i] = 0.0f;
    if (valid <= 0) return;
    f32x16 columns = set1(x[0]);
    int64_t whole = 0;
    for (; whole + lanes <= valid; whole += lanes) columns = max(columns, load(x + whole));
    float best = max_lanes(columns);
    for (; whole < valid; ++whole) best = x[whole] > best ? x[whole] : best;
    const f32x16 highest = set1(best);
    for (int64_t i = 0; i < valid; i += lanes)
        store_n(y + i, exp(sub(load_n(x + i, valid - i), highest)), valid - i);
    const f32x16 total = set1(sum(y, valid));
    for (int64_t i = 0; i < valid; i += lanes)
        store_n(y + i, div(load_n(y + i, valid - i), total), valid - i);
}

void rotate(const float* x, const float* cosine, const float* sine, int64_t frequencies, int64_t n,
            float* y) {
    for (int64_t i = 0; i < frequencies; i += lanes) {
        const int64_t left = frequencies - i;
        const f32x16 c = load_n(cosine + i, left), s = load_n(sine + i, left);
        const f32x16 a = load_n(x + i, left), b = load_n(x + frequencies + i, left);
        store_n(y + i, sub(mul(a, c), mul(b, s)), left);
        store_n(y + frequencies + i, add(mul(b, c), mul(a, s)), left);
    }
    for (int64_t i = 2 * frequencies; i < n; i += lanes) store_n(y + i, load_n(x + i, n - i), n - i);
}

void matmul_row(const float* row, const float* matrix, int64_t stride, int64_t inner, int64_t columns,
                float* y) {
    constexpr int tiles = 4;
    int64_t column = 0;
    for (; column + tiles * lanes <= columns; column += tiles * lanes) {
        f32x16 total[tiles] = {zero(), zero(), zero(), zero()};
        for (int64_t k = 0; k < inner; ++k) {
            const f32x16 value = set1(row[k]);
#pragma GCC unroll 4
            for (int t = 0; t < tiles; ++t)
                total[t] = fma(value, load(matrix + k * stride + column + t * lanes), total[t]);
        }
#pragma GCC unroll 4
        for (int t = 0; t < tiles; ++t) store(y + column + t * lanes, total[t]);
    }
    for (; column < columns; column += lanes) {
        f32x16 total = zero();
        for (int64_t k = 0; k < inner; ++k)
            total = fma(set1(row[k]), load_n(matrix + k * stride + column, columns - column), total);
        store_n(y + column, total, columns - column);
    }
}

float read_all(const void* data, int64_t bytes) {
    constexpr int streams = 4;
    const auto* p = static_cast<const uint8_t*>(data);
    const int64_t stream = bytes / streams / 64 * 64;
    i32x16 total[streams] = {set1(0), set1(0), set1(0), set1(0)};
    for (int64_t i = 0; i < stream; i += 64)
#pragma GCC unroll 4
        for (int s = 0; s < streams; ++s) {
            prefetch(p + s * stream + i + 1024);
            total[s] = add(total[s], load_i32(p + s * stream + i));
        }
    const i32x16 all = add(add(total[0], total[1]), add(total[2], total[3]));
    return sum_lanes(to_float(bit_and(all, set1(0xffff))));
}

float burn(int64_t rounds) {
    constexpr int chains = one_row_tiles + one_row_tiles / 2;  // 12 on avx512: enough, and all in registers
    f32x16 total[chains];
#pragma GCC unroll 16
    for (int c = 0; c < chains; ++c) total[c] = set1(static_cast<float>(c));
    const f32x16 factor = set1(0.999f);
    for (int64_t i = 0; i < rounds * (flops_per_round / (2 * lanes)) / chains; ++i) {
#pragma GCC unroll 16
        for (int c = 0; c < chains; ++c) total[c] = fma(total[c], factor, factor);
    }
    f32x16 all = zero();
#pragma GCC unroll 16
    for (int c = 0; c < chains; ++c) all = add(all, total[c]);
    return sum_lanes(all);
}

}  // namespace sheaf::cpu::SHEAF_ISA
