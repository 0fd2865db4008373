// The two recurrences of a Gated DeltaNet layer: short causal convolution and gated delta rule, token after
// token. The delta rule keeps a strip of the state's columns in the first-level cache over all tokens.
#include "backend/cpu/isa/kernel_units.h"
#include "backend/cpu/isa/vector_math.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

// Vectors of value columns at a time: as many as leave the sums in registers.
constexpr int strip = one_row_tiles / 2;

template <int T>
struct Columns {  // T vectors; a single one may be partial
    int64_t last_lanes;
    SHEAF_SIMD f32x16 read(const float* p, int t) const {
        return T > 1 ? load(p + t * lanes) : load_n(p + t * lanes, last_lanes);
    }
    SHEAF_SIMD void write(float* p, int t, f32x16 x) const {
        if (T > 1)
            store(p + t * lanes, x);
        else
            store_n(p + t * lanes, x, last_lanes);
    }
};

/// A sum over the key dimension of T vectors, in two chains: even and odd positions.
template <int T>
struct Chains {
    f32x16 even[T], odd[T];

    SHEAF_SIMD void clear() {
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) even[t] = odd[t] = zero();
    }
    SHEAF_SIMD f32x16 total(int t) const { return add(even[t], odd[t]); }
};

template <int T>
SHEAF_SIMD void see_row(Columns<T> columns, const float* row, float key, f32x16 (&seen)[T]) {
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) seen[t] = fma(set1(key), columns.read(row, t), seen[t]);
}

/// One row of the state: S = decay S + k d, o += q S, and what the next token sees: S k'.
template <int T>
SHEAF_SIMD void update_row(Columns<T> columns, float* row, f32x16 keep, float key, float query,
                           float next_key, const f32x16 (&delta)[T], f32x16 (&output)[T], f32x16 (&seen)[T]) {
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
        const f32x16 state = fma(set1(key), delta[t], mul(keep, columns.read(row, t)));
        columns.write(row, t, state);
        output[t] = fma(set1(query), state, output[t]);
        seen[t] = fma(set1(next_key), state, seen[t]);
    }
}

/// T vectors of columns from `column`. Of every token: d = beta (v - decay S^T k), S = decay S + k d^T, o =
/// S^T q; S^T k of the next token is summed in the same pass over the state.
template <int T>
void delta_columns(const DeltaRun& run, int64_t column) {
    const int64_t left = run.value_dim - column, stride = run.value_dim, keys = run.key_dim;
    const Columns<T> columns{left < lanes ? left : lanes};
    float* state = run.state + column;
    Chains<T> seen;
    seen.clear();
    for (int64_t i = 0; i + 1 < keys; i += 2) {
        see_row(columns, state + i * stride, run.key[i], seen.even);
        see_row(columns, state + (i + 1) * stride, run.key[i + 1], seen.odd);
    }
    if (keys % 2 != 0) see_row(columns, state + (keys - 1) * stride, run.key[keys - 1], seen.even);
    for (int64_t token = 0; token < run.tokens; ++token) {
        const float *k = run.key + token * run.key_stride, *q = run.query + token * run.key_stride;
        const float* next = token + 1 < run.tokens ? k + run.key_stride : k;  // the last one's goes unused
        const float* v = run.value + token * run.value_stride + column;
        const f32x16 keep = set1(run.decay[token * run.gate_stride]);
        const f32x16 beta = set1(run.beta[token * run.gate_stride]);
        f32x16 delta[T];
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) delta[t] = mul(beta, sub(columns.read(v, t), mul(keep, seen.total(t))));
        Chains<T> output;
        output.clear();
        seen.clear();
        for (int64_t i = 0; i + 1 < keys; i += 2) {
            float* row = state + i * stride;
            update_row(columns, row, keep, k[i], q[i], next[i], delta, output.even, seen.even);
            update_row(columns, row + stride, keep, k[i + 1], q[i + 1], next[i + 1], delta, output.odd,
                       seen.odd);
        }
        if (keys % 2 != 0) {
            const int64_t i = keys - 1;
            update_row(columns, state + i * stride, keep, k[i], q[i], next[i], delta, output.even, seen.even);
        }
        float* o = run.output + token * run.output_stride + column;
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) columns.write(o, t, output.total(t));
    }
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
