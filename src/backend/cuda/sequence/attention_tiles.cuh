// What decode and prefill attention share: tiles of pages in shared memory, and the update of 16 query rows
// by one tile of keys and values with tensor cores and a running softmax. A tile's rows are `dim` bf16 wide,
// 16-byte chunks swizzled by the row's number so that eight rows of one chunk lie in different banks. Device
// code only.
#pragma once

#include "backend/cuda/sequence/batch_rows.cuh"
#include "backend/cuda/sequence/device_math.cuh"

namespace sheaf::cuda {

/// A warp's 16 query rows: unnormalized output, running maximum (of scores times factor, base 2) and sum. A
/// lane holds rows lane / 4 and lane / 4 + 8, columns 8 i + 2 (lane % 4) and the next.
template <int dim>
struct QueryRows {
    float output[dim / 8][4];
    float maximum[2], sum[2];  // sum: this lane's share until finish()

    __device__ void clear() {
#pragma unroll
        for (int i = 0; i < dim / 8; ++i) output[i][0] = output[i][1] = output[i][2] = output[i][3] = 0.0f;
        maximum[0] = maximum[1] = -INFINITY, sum[0] = sum[1] = 0.0f;
    }
    __device__ void finish() {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
            sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
        }
    }
};

/// Scores of 16 query rows (at `queries`, a tile) and `keys` keys. Few keys are summed in two chains, so that
/// products need not wait for one another.
template <int dim, int keys>
__device__ inline void score_tile(float (&scores)[keys / 8][4], uint32_t queries, uint32_t tile) {
    constexpr int chains = keys <= 16 ? 2 : 1;
    const int lane = threadIdx.x % 32;
    float sums[chains][keys / 8][4] = {};
#pragma unroll
    for (int step = 0; step < dim / 16; ++step) {
        uint32_t q[4];
        load_matrices(q, tile_address<dim>(queries, lane % 16, 2 * step + lane / 16));
#pragma unroll
        for (int i = 0; i < keys / 16; ++i) {
            uint32_t k[4];
            const int row = 16 * i + lane % 8 + lane / 16 * 8;
            load_matrices(k, tile_address<dim>(tile, row, 2 * step + lane / 8 % 2));
            mma(sums[step % chains][2 * i], q, k[0], k[1]);
            mma(sums[step % chains][2 * i + 1], q, k[2], k[3]);
        }
    }
#pragma unroll
    for (int i = 0; i < keys / 8; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
            scores[i][j] = chains == 2 ? sums[0][i][j] + sums[chains - 1][i][j] : sums[0][i][j];
}

/// Scores become weights relative to the new maxima; what was summed before is rescaled.
template <int dim, int keys>
__device__ inline void weigh(float (&scores)[keys / 8][4], QueryRows<dim>& rows, float factor) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float maximum = rows.maximum[r];
#pragma unroll
        for (int i = 0; i < keys / 8; ++i)
            maximum = fmaxf(maximum, factor * fmaxf(scores[i][2 * r], scores[i][2 * r + 1]));
        maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
        maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
        const float origin = maximum == -INFINITY ? 0.0f : maximum;  // nothing visible yet: weights 0
        const float rescale = exp2f(rows.maximum[r] - origin);
        rows.maximum[r] = maximum;
        rows.sum[r] *= rescale;
#pragma unroll
        for (int i = 0; i < keys / 8; ++i)
#pragma unroll
            for (int j = 2 * r; j < 2 * r + 2; ++j) {
                scores[i][j] = exp2f(fmaf(scores[i][j], factor, -origin));
                rows.sum[r] += scores[i][j];
            }
        if (__any_sync(0xffffffffu, rescale != 1.0f))
#pragma unroll
            for (int i = 0; i < dim / 8; ++i)
#pragma unroll
                for (int j = 2 * r; j < 2 * r + 2; ++j) rows.output[i][j] *= rescale;
    }
}

template <int dim, int keys>
__device__ inline void add_values(const float (&weights)[keys / 8][4], QueryRows<dim>& rows, uint32_t tile) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < keys / 16; ++i) {
        const uint32_t p[4] = {pack_bf16(weights[2 * i][0], weights[2 * i][1]),
                               pack_bf16(weights[2 * i][2], weights[2 * i][3]),
                               pack_bf16(weights[2 * i + 1][0], weights[2 * i + 1][1]),
                               pack_bf16(weights[2 * i + 1][2], weights[2 * i + 1][3])};
#pragma unroll
        for (int step = 0; step < dim / 16; ++step) {
            uint32_t v[4];
            load_matrices_transposed(v, tile_address<dim>(tile, 16 * i + lane % 16, 2 * step + lane / 16));
            mma(rows.output[2 * step], p, v[0], v[1]);
            mma(rows.output[2 * step + 1], p, v[2], v[3]);
        }
    }
}

/// Scores of keys that a row does not see become -inf. Keys [first, first + keys); row r (0, 1 of a lane)
/// sees keys up to last[r].
template <int keys>
__device__ inline void hide_later_keys(float (&scores)[keys / 8][4], int first, const int (&last)[2]) {
    if (!__any_sync(0xffffffffu, first + keys - 1 > min(last[0], last[1]))) return;
    const int column = first + threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < keys / 8; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
            if (column + 8 * i + j % 2 > last[j / 2]) scores[i][j] = -INFINITY;
}

/// The whole update by one tile of keys and values.
template <int dim, int keys>
__device__ inline void attend_tile(QueryRows<dim>& rows, uint32_t queries, uint32_t key_tile,
                                   uint32_t value_tile, int first, const int (&last)[2], float factor) {
    float scores[keys / 8][4];
    score_tile<dim, keys>(scores, queries, key_tile);
    hide_later_keys<keys>(scores, first, last);
    weigh<dim, keys>(scores, rows, factor);
    add_values<dim, keys>(scores, rows, value_tile);
}

}  // namespace sheaf::cuda
