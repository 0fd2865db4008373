// The two recurrences of a Gated DeltaNet layer: short causal convolution and gated delta rule, token after
// token. The delta rule keeps a strip of the state's columns in the first-level cache over all tokens.
#include "backend/cpu/isa/kernel_units.h"
#include "backend/cpu/isa/vector_math.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

constexpr int strip = one_row_tiles / 2;  // vectors of value columns at a time

template <int T>
struct Columns {  // T vectors, the last one perhaps partial
    int64_t last_lanes;
    SHEAF_SIMD f32x16 read(const float* p, int t) const {
        return t + 1 < T ? load(p + t * lanes) : load_n(p + t * lanes, last_lanes);
    }
    SHEAF_SIMD void write(float* p, int t, f32x16 x) const {
        if (t + 1 < T)
            store(p + t * lanes, x);
        else
            store_n(p + t * lanes, x, last_lanes);
    }
};

/// One token on T vectors of columns: d = beta (v - decay S^T k), S = decay S + k d^T, o = S^T q. Sums over
/// the key dimension run in two chains, even and odd.
template <int T>
SHEAF_SIMD void delta_token(const DeltaRun& run, Columns<T> columns, const float* q, const float* k,
                            const float* v, float decay, float beta, float* state, float* output) {
    const int64_t stride = run.value_dim;
    const f32x16 keep = set1(decay);
    f32x16 even[T], odd[T], delta[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) even[t] = odd[t] = zero();
    for (int64_t i = 0; i < run.key_dim; ++i) {
        const f32x16 key = set1(k[i]);
        const float* row = state + i * stride;
        f32x16* chain = i % 2 ? odd : even;
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) chain[t] = fma(key, columns.read(row, t), chain[t]);
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
        const f32x16 seen = mul(keep, add(even[t], odd[t]));
        delta[t] = mul(set1(beta), sub(columns.read(v, t), seen));
        even[t] = odd[t] = zero();
    }
    for (int64_t i = 0; i < run.key_dim; ++i) {
        const f32x16 key = set1(k[i]), query = set1(q[i]);
        float* row = state + i * stride;
        f32x16* chain = i % 2 ? odd : even;
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
            const f32x16 next = fma(key, delta[t], mul(keep, columns.read(row, t)));
            columns.write(row, t, next);
            chain[t] = fma(query, next, chain[t]);
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) columns.write(output, t, add(even[t], odd[t]));
}

template <int T>
void delta_columns(const DeltaRun& run, int64_t column) {
    const int64_t left = run.value_dim - column - (T - 1) * lanes;
    const Columns<T> columns{left < lanes ? left : lanes};
    for (int64_t i = 0; i < run.tokens; ++i)
        delta_token<T>(run, columns, run.query + i * run.key_stride, run.key + i * run.key_stride,
                       run.value + i * run.value_stride + column, run.decay[i * run.gate_stride],
                       run.beta[i * run.gate_stride], run.state + column,
                       run.output + i * run.output_stride + column);
}

}  // namespace

void delta_rule(const DeltaRun& run) {
    int64_t column = 0;
    for (; column + strip * lanes <= run.value_dim; column += strip * lanes)
        delta_columns<strip>(run, column);
    for (; column < run.value_dim; column += lanes) delta_columns<1>(run, column);
}

void causal_conv(const float* x, int64_t x_stride, const float* weight, int64_t kernel, float* history,
                 int64_t history_stride, int64_t rows, int64_t channels, float* y, int64_t y_stride) {
    constexpr int64_t longest = 16;
    f32x16 tap[longest];
    for (int64_t j = 0; j < kernel; ++j) {
        float column[lanes] = {};
        for (int64_t c = 0; c < channels; ++c) column[c] = weight[c * kernel + j];
        tap[j] = load(column);
    }
    const int64_t past = kernel - 1;
    auto input = [&](int64_t row) {  // row -past is the oldest of the history
        return row < 0 ? load_n(history + (row + past) * history_stride, channels)
                       : load_n(x + row * x_stride, channels);
    };
    for (int64_t row = 0; row < rows; ++row) {
        f32x16 total = zero();
        for (int64_t j = 0; j < kernel; ++j) total = fma(tap[j], input(row - past + j), total);
        store_n(y + row * y_stride, silu(total), channels);
    }
    for (int64_t i = 0; i < past; ++i)
        store_n(history + i * history_stride, input(rows - past + i), channels);
}

}  // namespace sheaf::cpu::SHEAF_ISA
