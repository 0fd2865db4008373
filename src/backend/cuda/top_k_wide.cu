// The largest k of rows as wide as a vocabulary, in two passes: every block the best of a piece of the row,
// then one block per row the best of those. Rounds of "largest one below the last", so nothing is moved or
// marked.
#include <cfloat>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix_view.cuh"
#include "backend/cuda/top_k_wide.h"

namespace sheaf::cuda {
namespace {

constexpr int piece = 8192, per_thread = piece / threads_per_block, warps = threads_per_block / 32;

struct Best {
    float value = -INFINITY;
    int index = -1;
};

/// Whether a comes before b: larger value, or the same and the lower index. -1 is no element.
__device__ __forceinline__ bool before(const Best& a, const Best& b) {
    if (a.index < 0) return false;
    return b.index < 0 || a.value > b.value || (a.value == b.value && a.index < b.index);
}

__device__ Best best_of_block(Best mine, Best* shared) {
    for (int offset = 16; offset > 0; offset /= 2) {
        const Best other{__shfl_xor_sync(0xffffffffu, mine.value, offset),
                         __shfl_xor_sync(0xffffffffu, mine.index, offset)};
        if (before(other, mine)) mine = other;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = mine;
    __syncthreads();
    Best best = shared[0];
    for (int w = 1; w < warps; ++w)
        if (before(shared[w], best)) best = shared[w];
    return best;
}

/// k rounds over a block's elements, element i of a thread being get(i) (index -1: none). put(round, best).
template <int count, class Get, class Put>
__device__ void choose(int k, Best* shared, const Get& get, const Put& put) {
    Best last{INFINITY, -1};
    for (int round = 0; round < k; ++round) {
        Best mine;
        for (int i = 0; i < count; ++i) {
            const Best candidate = get(i);
            if ((round == 0 || before(last, candidate)) && before(candidate, mine)) mine = candidate;
        }
        last = best_of_block(mine, shared);
        if (threadIdx.x == 0) put(round, last);
        if (last.index < 0) last = {-INFINITY, INT_MAX};  // nothing is left: nothing comes after it either
    }
}

/// best: (rows, pieces, k). A piece with a value that is not finite gives NaN first.
__global__ void __launch_bounds__(threads_per_block)
    best_of_pieces(MatrixView<const float> x, int k, Best* best) {
    __shared__ Best shared[warps];
    const int64_t row = blockIdx.y;
    const int first = blockIdx.x * piece;
    float values[per_thread];
    bool finite = true;
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
        const int column = first + i * threads_per_block + static_cast<int>(threadIdx.x);
        values[i] = column < x.columns ? x.at(row, column) : 0.0f;
        finite = finite && isfinite(values[i]);
    }
    const bool all_finite = __syncthreads_and(finite);
    Best* result = best + (row * gridDim.x + blockIdx.x) * k;
    choose<per_thread>(
        k, shared,
        [&](int i) {
            const int column = first + i * threads_per_block + static_cast<int>(threadIdx.x);
            return column < x.columns ? Best{values[i], column} : Best{};
        },
        [&](int round, const Best& found) { result[round] = found; });
    if (threadIdx.x == 0 && !all_finite) result[0] = {NAN, first};
}

constexpr int merged_per_thread = 16;

__global__ void __launch_bounds__(threads_per_block)
    best_of_bests(const Best* best, int candidates, int k, int32_t* ids, float* weights) {
    __shared__ Best shared[warps];
    const int64_t row = blockIdx.x;
    Best mine[merged_per_thread];
    bool finite = true;
#pragma unroll
    for (int i = 0; i < merged_per_thread; ++i) {
        const int at = i * threads_per_block + static_cast<int>(threadIdx.x);
        mine[i] = at < candidates ? best[row * candidates + at] : Best{};
        finite = finite && !isnan(mine[i].value);
    }
    const bool all_finite = __syncthreads_and(finite);
    choose<merged_per_thread>(
        k, shared, [&](int i) { return mine[i]; },
        [&](int round, const Best& found) {
            ids[row * k + round] = found.index < 0 ? 0 : found.index;
            weights[row * k + round] = all_finite ? found.value : NAN;
        });
}

int64_t pieces_of(int64_t columns) {
    return (columns + piece - 1) / piece;
}

}  // namespace

bool fits_wide_top_k(int64_t columns, int64_t k) {
    return k <= columns && pieces_of(columns) * k <= merged_per_thread * threads_per_block;
}

size_t wide_top_k_scratch_bytes(int64_t rows, int64_t columns, int64_t k) {
    return static_cast<size_t>(rows * pieces_of(columns) * k) * sizeof(Best);
}

void wide_top_k(const Tensor& values, const Tensor& ids, const Tensor& weights, const Tensor& scratch,
                cudaStream_t stream) {
    const int64_t rows = values.size(0), columns = values.size(1), pieces = pieces_of(columns);
    const auto k = static_cast<int>(ids.size(1));
    SHEAF_CHECK(values.dtype() == DType::f32 && fits_wide_top_k(columns, k), "top {} of {}", k, columns);
    if (rows == 0) return;
    auto* best = static_cast<Best*>(scratch.raw());
    const dim3 grid(static_cast<unsigned>(pieces), static_cast<unsigned>(rows));
    best_of_pieces<<<grid, threads_per_block, 0, stream>>>(MatrixView<const float>(values), k, best);
    check_launch("the best of a row's pieces");
    best_of_bests<<<static_cast<unsigned>(rows), threads_per_block, 0, stream>>>(
        best, static_cast<int>(pieces * k), k, ids.data<int32_t>(), weights.data<float>());
    check_launch("the best of a row");
}

}  // namespace sheaf::cuda
