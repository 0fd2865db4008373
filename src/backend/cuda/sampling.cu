// Tokens of rows of logits. Where few candidates are left (a small top-k, or a top-p of a peaked row) they
// are listed and sorted; otherwise the boundaries are found digit by digit in histograms of keys.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/sampling.cuh"
#include "backend/cuda/sampling.h"
#include "backend/cuda/top_k_wide.h"

namespace sheaf::cuda {
namespace {

using namespace sampling;

struct Call {
    const float* logits;
    int64_t stride;
    int columns;
    const RowSampling* rows;
    const LogitEdit* edits;
    const uint32_t* masks;
    int32_t* results;     // (rows, 4)
    double* normalizers;  // (rows), or null: no log-probabilities
    float* scratch;       // (rows, columns) for a block alone
};

/// A block's part of the row, and each thread's part of that: neighbouring elements, an odd number of them,
/// so that the threads of a warp read different banks.
struct Part {
    float* values;  // of the block
    int first;      // id of values[0]
    int count;
    int begin, end;  // this thread's

    /// f(logit, id) of this thread's elements, by their ids.
    template <class F>
    __device__ void each(const F& f) const {
        for (int i = begin; i < end; ++i) f(values[i], first + i);
    }
};

template <int blocks>
__device__ Part part_of(const Call& call, float* shared) {
    const int per_block = (call.columns + blocks - 1) / blocks;
    Part part;
    part.first = min(Team<blocks>::rank() * per_block, call.columns);
    part.count = min(per_block, call.columns - part.first);
    const int per_thread = (per_block + threads - 1) / threads | 1;
    part.begin = min(static_cast<int>(threadIdx.x) * per_thread, part.count);
    part.end = min(part.begin + per_thread, part.count);
    const int64_t row = blockIdx.x / blocks;
    part.values = blocks > 1 ? shared : call.scratch + row * call.columns;
    return part;
}

/// Brings the part to its memory with masks applied. Whether all of it is finite.
__device__ bool load(const Call& call, int64_t row, const RowSampling& choice, const Part& part) {
    const float* logits = call.logits + row * call.stride + part.first;
    const uint32_t* mask = choice.mask < 0
                               ? nullptr
                               : call.masks + static_cast<int64_t>(choice.mask) * ((call.columns + 31) / 32);
    const int limit = choice.limit > 0 ? choice.limit : call.columns;
    bool finite = true;
#pragma unroll 8
    for (int i = threadIdx.x; i < part.count; i += threads) {
        const float logit = logits[i];
        const int id = part.first + i;
        finite = finite && isfinite(logit);
        const bool allowed = id < limit && (!mask || (mask[id / 32] >> (id % 32) & 1));
        part.values[i] = allowed ? logit : nothing;
    }
    return __syncthreads_and(finite);
}

__device__ void edit(const Call& call, const RowSampling& choice, const Part& part) {
    const LogitEdit* edits = call.edits + choice.first_edit;
    const float penalty = choice.repetition_penalty;
    for (int i = threadIdx.x; i < choice.edits; i += threads) {
        const LogitEdit e = edits[i];
        const int at = e.token - part.first;
        if (at < 0 || at >= part.count) continue;
        float value = __fadd_rn(part.values[at], e.add);
        if (value == nothing || e.kind & LogitEdit::masked) {
            part.values[at] = nothing;
            continue;
        }
        if (e.kind & LogitEdit::repeated)
            value = value > 0 ? __fdiv_rn(value, penalty) : __fmul_rn(value, penalty);
        part.values[at] = __fsub_rn(value, e.subtract);
    }
    __syncthreads();
}

/// The largest logit and its lowest id; token -1 when there is none.
struct Largest {
    float logit = nothing;
    int32_t token = -1;
};
template <int blocks>
__device__ Largest find_largest(Team<blocks>& team, const Part& part) {
    Wide mine = 0;
    part.each([&](float logit, int id) {
        if (logit == nothing) return;
        mine = max(mine, static_cast<Wide>(ordered_bits(logit)) << 32 | ~static_cast<uint32_t>(id));
    });
    const Wide best = team.largest(mine);
    if (best == 0) return {};
    return {from_ordered_bits(static_cast<uint32_t>(best >> 32)),
            static_cast<int32_t>(~static_cast<uint32_t>(best))};
}

/// Where a sum over candidates in their order reaches a goal: all keys before `key`, and `ties` of its own.
struct Boundary {
    uint32_t key = 0;
    Wide ties = 0;    // at least 1; in the order of ids
    Wide weight = 0;  // of all these
};

template <int blocks>
struct Row {
    Team<blocks>& team;
    const Part& part;
    const RowSampling& choice;
    Weigher weigh;
    float largest;
    float floor;  // candidates are no further below the largest
    int columns;

    template <class F>
    __device__ void each_candidate(const F& f) const {
        part.each([&](float logit, int id) {
            const float below = logit - largest;
            if (logit != nothing && below >= floor) f(below, id);
        });
    }
    __device__ Wide count_candidates(Wide& before) {
        Wide mine = 0;
        each_candidate([&](float, int) { ++mine; });
        return team.sum(mine, before);
    }
    /// A weight's place on the scale of logits, rounded towards the largest one.
    __device__ float below_for(double weight) const { return __double2float_ru(log(weight) / weigh.rate); }

    /// Counts (and weighs) by the digit at `shift` the candidates whose higher digits are those of `prefix`.
    __device__ void count_digits(uint32_t prefix, int shift, int bits, bool weighed) {
        auto& histogram = team.memory.histogram;
        for (int i = threadIdx.x; i < digits; i += threads) histogram.counts[i] = 0, histogram.weights[i] = 0;
        __syncthreads();
        uint32_t digit = 0, run = 0;  // equal neighbours are added up before they are counted
        Wide weight = 0;
        auto flush = [&] {
            if (run == 0) return;
            atomicAdd(&histogram.counts[digit], run);
            if (weighed) atomicAdd(&histogram.weights[digit], weight);
        };
        each_candidate([&](float below, int) {
            const uint32_t key = key_of(below);
            if (key >> (shift + bits) != prefix) return;
            const uint32_t own = key >> shift & ((1u << bits) - 1);
            if (own != digit) flush(), digit = own, run = 0, weight = 0;
            ++run;
            if (weighed) weight += weigh(below);
        });
        flush();
        team.sync();
    }

    /// Finds the digit in which the running count or weight reaches `goal`; adds what comes before it.
    __device__ uint32_t find_digit(double goal, bool weighed, Wide& count, Wide& weight) {
        constexpr int own = digits / threads;
        Wide counts[own] = {}, weights[own] = {};
        for (int block = 0; block < blocks; ++block) {
            const auto& other = team.of(block).histogram;
            for (int i = 0; i < own; ++i) {
                counts[i] += other.counts[threadIdx.x * own + i];
                weights[i] += other.weights[threadIdx.x * own + i];
            }
        }
        Wide count_before = 0, weight_before = 0;
        if (threadIdx.x == 0) team.memory.digit = digits;  // no goal reached
        team.sum_of_threads(counts[0] + counts[1], count_before);
        team.sum_of_threads(weights[0] + weights[1], weight_before);
        count_before += count, weight_before += weight;
        for (int i = 0; i < own; ++i) {
            const Wide before = weighed ? weight_before : count_before;
            const Wide through = before + (weighed ? weights[i] : counts[i]);
            if (static_cast<double>(before) < goal && static_cast<double>(through) >= goal) {
                team.memory.digit = threadIdx.x * own + i;
                team.memory.found[0] = count_before;
                team.memory.found[1] = weight_before;
            }
            count_before += counts[i], weight_before += weights[i];
        }
        team.sync();  // also: nobody reads a histogram any more
        const uint32_t digit = team.memory.digit;
        if (digit < digits) count = team.memory.found[0], weight = team.memory.found[1];
        __syncthreads();
        return min(digit, digits - 1u);
    }

    /// goal: a number of candidates, or a weight; at most that of all candidates.
    __device__ Boundary find_boundary(double goal, bool weighed) {
        Wide count = 0, weight = 0;
        uint32_t key = 0;
        constexpr int shifts[] = {20, 10, 0}, bits[] = {11, 10, 10};
        for (int level = 0; level < 3; ++level) {
            count_digits(key, shifts[level], bits[level], true);
            key = key << bits[level] | find_digit(goal, weighed, count, weight);
        }
        const Wide each = weigh(below_of(key));
        const double missing = goal - static_cast<double>(weighed ? weight : count);
        const double unit = weighed ? static_cast<double>(max(each, Wide{1})) : 1.0;
        const Wide ties = max(static_cast<Wide>(ceil(missing / unit)), Wide{1});
        return {key, ties, weight + ties * each};
    }

    /// Writes the id of the candidate at which a boundary ends.
    __device__ void choose_at(const Boundary& boundary) {
        Wide mine = 0, before = 0;
        each_candidate([&](float below, int) { mine += key_of(below) == boundary.key; });
        const Wide all = team.sum(mine, before), wanted = min(boundary.ties, max(all, Wide{1}));
        if (before >= wanted || before + mine < wanted) return;
        each_candidate([&](float below, int id) {
            if (key_of(below) == boundary.key && ++before == wanted) team.first().token = id;
        });
    }

    /// By ids: no candidate was cut off.
    __device__ void choose_in_place() {
        Wide mine = 0, before = 0;
        each_candidate([&](float below, int) { mine += weigh(below); });
        const Wide total = team.sum(mine, before);
        const double goal = choice.uniform * static_cast<double>(total);
        if (static_cast<double>(before) >= goal || static_cast<double>(before + mine) < goal) return;
        bool chosen = false;
        each_candidate([&](float below, int id) {
            before += weigh(below);
            if (chosen || static_cast<double>(before) < goal) return;
            chosen = true;
            team.first().token = id;
        });
    }

    /// By falling logits. limit: how many are kept, or 0; total: the weight of all, where there is no limit.
    __device__ void choose_by_boundaries(int limit, Wide total) {
        if (limit > 0) total = find_boundary(limit, false).weight;
        if (choice.top_p < 1.0f)
            total =
                find_boundary(static_cast<double>(choice.top_p) * static_cast<double>(total), true).weight;
        choose_at(find_boundary(choice.uniform * static_cast<double>(total), true));
    }

    /// The same by sorting; count: how many candidates there are; before: of them before this thread's.
    __device__ void choose_from_list(int count, Wide before, int limit, Wide total) {
        Memory& first = team.first();
        each_candidate([&](float below, int id) {
            first.list[before++] = static_cast<Wide>(key_of(below)) << 32 | static_cast<uint32_t>(id);
        });
        team.sync();
        if (Team<blocks>::rank() != 0) return;
        int padded = 1;
        while (padded < count) padded *= 2;
        for (int i = count + threadIdx.x; i < padded; i += threads) first.list[i] = ~Wide{0};
        sort_list(first.list, padded);
        const int kept = limit > 0 ? min(limit, count) : count;
        // A thread's neighbouring entries, and the weights up to each.
        constexpr int own = most_listed / threads;
        const int begin = threadIdx.x * own;
        Wide through[own], sum = 0, weight_before = 0;
        for (int i = 0; i < own; ++i)
            through[i] = sum +=
                begin + i < kept ? weigh(below_of(static_cast<uint32_t>(first.list[begin + i] >> 32))) : 0;
        const Wide listed = team.sum_of_threads(sum, weight_before);
        if (limit > 0) total = listed;
        /// The place of the entry where the sum reaches `goal`, else the last one's.
        auto reach = [&](double goal) {
            if (threadIdx.x == 0) team.memory.digit = kept - 1, team.memory.found[0] = listed;
            __syncthreads();
            for (int i = 0; i < own; ++i) {
                const Wide low = weight_before + (i > 0 ? through[i - 1] : 0),
                           high = weight_before + through[i];
                if (begin + i < kept && static_cast<double>(low) < goal && static_cast<double>(high) >= goal)
                    team.memory.digit = begin + i, team.memory.found[0] = high;
            }
            __syncthreads();
        };
        if (choice.top_p < 1.0f) {
            reach(static_cast<double>(choice.top_p) * static_cast<double>(total));
            total = team.memory.found[0];
            __syncthreads();
        }
        reach(choice.uniform * static_cast<double>(total));
        if (threadIdx.x == 0)
            first.token = static_cast<int32_t>(static_cast<uint32_t>(first.list[team.memory.digit]));
    }

    /// Lowers the number of candidates to those in the first digits that hold `limit` of them.
    __device__ void keep_first_digits(int limit) {
        Wide count = 0, weight = 0;
        count_digits(0, 20, 11, false);
        const uint32_t digit = find_digit(limit, false, count, weight);
        floor = fmaxf(floor, below_of(((digit + 1) << 20) - 1));
    }

    __device__ void choose() {
        floor = choice.min_p > 0 ? below_for(choice.min_p) : -INFINITY;
        Wide before = 0, total = 0;
        int count = columns, limit = 0;
        if (choice.top_k > 0 && choice.top_k < columns) {
            count = static_cast<int>(count_candidates(before));
            if (choice.top_k < count) limit = choice.top_k;
        }
        if (limit == 0 && choice.top_p >= 1.0f) return choose_in_place();
        const float all = floor;
        if (limit > 0) {
            keep_first_digits(limit);
        } else {
            Wide mine = 0, candidates = 0;
            each_candidate([&](float below, int) { mine += weigh(below), ++candidates; });
            total = team.sum(mine);
            candidates = team.sum(candidates);
            // Tokens that even together weigh less than the part to be cut off need no sorting.
            const double least = static_cast<double>(total) / weigh.one *
                                 (1.0 - static_cast<double>(choice.top_p)) / static_cast<double>(candidates);
            if (least > 0) floor = fmaxf(floor, below_for(least));
        }
        count = static_cast<int>(count_candidates(before));
        if (count <= most_listed) return choose_from_list(count, before, limit, total);
        floor = all;
        choose_by_boundaries(limit, total);
    }
};

/// Log-probability and rank of the row's token by its raw logits. Fixed order of sums.
template <int blocks>
__device__ void describe(Team<blocks>& team, const Call& call, int64_t row, const Part& part, int32_t token) {
    const float* logits = call.logits + row * call.stride;
    const float own = logits[token];
    Wide best = 0, above = 0, mine = 0;
    for (int i = threadIdx.x; i < part.count; i += threads) {
        const float logit = logits[part.first + i];
        best = max(best, static_cast<Wide>(ordered_bits(logit)));
        above += logit > own;
    }
    const float largest = from_ordered_bits(static_cast<uint32_t>(team.largest(best)));
    const Weigher weigh(1.0f, call.columns);
    for (int i = threadIdx.x; i < part.count; i += threads)
        mine += weigh(__fsub_rn(logits[part.first + i], largest));
    above = team.sum(above);
    const double normalizer = largest + log(static_cast<double>(team.sum(mine)) / weigh.one);
    if (team.rank() != 0 || threadIdx.x != 0) return;
    call.normalizers[row] = normalizer;
    call.results[4 * row + 2] = __float_as_int(static_cast<float>(static_cast<double>(own) - normalizer));
    call.results[4 * row + 3] = static_cast<int32_t>(above) + 1;
}

template <int blocks>
__global__ void __launch_bounds__(threads) sample_rows(const Call call) {
#if __CUDA_ARCH__ < 900
    if constexpr (blocks > 1) return;  // never launched
#endif
    extern __shared__ __align__(16) char dynamic[];
    Memory& memory = *reinterpret_cast<Memory*>(dynamic);
    Team<blocks> team{memory};
    const int64_t row = blockIdx.x / blocks;
    const RowSampling choice = call.rows[row];
    const Part part = part_of<blocks>(call, reinterpret_cast<float*>(dynamic + sizeof(Memory)));
    const bool finite = load(call, row, choice, part);
    edit(call, choice, part);
    const Wide broken = team.sum(finite || threadIdx.x != 0 ? 0 : 1);
    const Largest largest = find_largest(team, part);
    if (threadIdx.x == 0) memory.token = max(largest.token, 0);
    team.sync();
    if (broken == 0 && largest.token >= 0 && choice.temperature >= least_temperature) {
        Row<blocks> work{team,          part, choice,      Weigher(choice.temperature, call.columns),
                         largest.logit, 0.0f, call.columns};
        work.choose();
    }
    team.sync();
    const int32_t token = broken == 0 ? team.first().token : 0;
    if (team.rank() == 0 && threadIdx.x == 0) {
        const SamplingStatus status = broken > 0          ? SamplingStatus::not_finite
                                      : largest.token < 0 ? SamplingStatus::nothing_left
                                                          : SamplingStatus::chosen;
        call.results[4 * row] = token;
        call.results[4 * row + 1] = static_cast<int32_t>(status);
        call.results[4 * row + 2] = call.results[4 * row + 3] = 0;
        if (call.normalizers) call.normalizers[row] = NAN;
    }
    if (call.normalizers && broken == 0) describe(team, call, row, part, token);
    team.sync();  // a block's memory stays until all have read it
}

/// Logits of the most likely tokens to log-probabilities; rows without an answer become 0.
__global__ void normalize(const double* normalizers, int count, int32_t* ids, float* values, int total) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= total) return;
    const double normalizer = normalizers[i / count];
    const bool known = !isnan(normalizer);
    values[i] = known ? static_cast<float>(static_cast<double>(values[i]) - normalizer) : 0.0f;
    if (!known) ids[i] = 0;
}

constexpr int cluster_blocks = 8;

size_t shared_bytes(int64_t columns, SamplingForm form) {
    const size_t part =
        form == SamplingForm::block
            ? 0
            : static_cast<size_t>((columns + cluster_blocks - 1) / cluster_blocks) * sizeof(float);
    return sizeof(Memory) + part;
}

size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

template <int blocks>
void launch(const Call& call, int64_t rows, size_t shared, cudaStream_t stream) {
    const auto kernel = sample_rows<blocks>;
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
          "sampling");
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = blocks;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(rows * blocks));
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = blocks > 1 ? 1 : 0;
    check(cudaLaunchKernelEx(&config, kernel, call), "sampling");
}

}  // namespace

SamplingForm sampling_form(int64_t columns) {
    int device = 0, major = 0, memory = 0;
    check(cudaGetDevice(&device), "sampling");
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "sampling");
    check(cudaDeviceGetAttribute(&memory, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "sampling");
    const bool fits = shared_bytes(columns, SamplingForm::cluster) <= static_cast<size_t>(memory);
    return major >= 9 && fits ? SamplingForm::cluster : SamplingForm::block;
}

bool fits_sampling(int64_t columns, int64_t logprobs) {
    return columns <= INT32_MAX / 2 && (logprobs <= 0 || fits_wide_top_k(columns, logprobs));
}

size_t sampling_scratch_bytes(int64_t rows, int64_t columns, int64_t logprobs, SamplingForm form) {
    size_t bytes = aligned(static_cast<size_t>(rows) * sizeof(double));
    if (form == SamplingForm::block) bytes += aligned(static_cast<size_t>(rows * columns) * sizeof(float));
    if (logprobs > 0) bytes += wide_top_k_scratch_bytes(rows, columns, logprobs);
    return bytes;
}

void sample(const Tensor& logits, const SamplingBatch& batch, const Sampled& result, const Tensor& scratch,
            SamplingForm form, cudaStream_t stream) {
    const int64_t rows = logits.size(0), columns = logits.size(1);
    SHEAF_CHECK(logits.dtype() == DType::f32 && fits_sampling(columns, batch.logprobs));
    if (rows == 0) return;
    auto* memory = static_cast<char*>(scratch.raw());
    size_t used = aligned(static_cast<size_t>(rows) * sizeof(double));
    Call call{.logits = logits.data<float>(),
              .stride = logits.row_stride(),
              .columns = static_cast<int>(columns),
              .rows = static_cast<const RowSampling*>(batch.rows.raw()),
              .edits = static_cast<const LogitEdit*>(batch.edits.raw()),
              .masks = static_cast<const uint32_t*>(batch.masks.raw()),
              .results = result.rows.data<int32_t>(),
              .normalizers = batch.logprobs >= 0 ? reinterpret_cast<double*>(memory) : nullptr,
              .scratch = reinterpret_cast<float*>(memory + used)};
    if (form == SamplingForm::block) used += aligned(static_cast<size_t>(rows * columns) * sizeof(float));
    if (form == SamplingForm::block)
        launch<1>(call, rows, shared_bytes(columns, form), stream);
    else
        launch<cluster_blocks>(call, rows, shared_bytes(columns, form), stream);
    if (batch.logprobs <= 0) return;
    const Tensor rest(memory + used, DType::u8, Shape{static_cast<int64_t>(scratch.bytes() - used)});
    wide_top_k(logits, result.best_ids, result.best_logprobs, rest, stream);
    const int total = static_cast<int>(rows * batch.logprobs);
    normalize<<<static_cast<unsigned>((total + 255) / 256), 256, 0, stream>>>(
        call.normalizers, batch.logprobs, result.best_ids.data<int32_t>(), result.best_logprobs.data<float>(),
        total);
    check_launch("log-probabilities of the most likely tokens");
}

}  // namespace sheaf::cuda
