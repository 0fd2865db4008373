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
    int32_t* chosen;      // by slots, or null
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
    const int per_block = ((call.columns + blocks - 1) / blocks + 3) / 4 * 4;
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

/// Brings the part to its memory as it is; f(logit, id) of each on the way, in no order.
template <class F>
__device__ void load(const float* logits, const Part& part, const F& f) {
    int done = 0;
    if (reinterpret_cast<uintptr_t>(logits) % 16 == 0 && reinterpret_cast<uintptr_t>(part.values) % 16 == 0) {
        const int fours = part.count / 4;
        done = 4 * fours;
#pragma unroll 8
        for (int i = threadIdx.x; i < fours; i += threads) {
            const float4 four = reinterpret_cast<const float4*>(logits)[i];
            reinterpret_cast<float4*>(part.values)[i] = four;
            const int id = part.first + 4 * i;
            f(four.x, id), f(four.y, id + 1), f(four.z, id + 2), f(four.w, id + 3);
        }
    }
    for (int i = done + threadIdx.x; i < part.count; i += threads) {
        part.values[i] = logits[i];
        f(logits[i], part.first + i);
    }
}

/// Whether masks or edits change the row.
__device__ bool is_changed(const RowSampling& choice) {
    return choice.mask >= 0 || choice.limit > 0 || choice.edits > 0;
}

__device__ void mask_out(const Call& call, const RowSampling& choice, const Part& part) {
    const uint32_t* mask = choice.mask < 0
                               ? nullptr
                               : call.masks + static_cast<int64_t>(choice.mask) * ((call.columns + 31) / 32);
    const int limit = choice.limit > 0 ? choice.limit : call.columns;
    for (int i = threadIdx.x; i < part.count; i += threads) {
        const int id = part.first + i;
        if (id >= limit || (mask && (mask[id / 32] >> (id % 32) & 1) == 0)) part.values[i] = nothing;
    }
    __syncthreads();
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
    bool finite = true;
    float logit = nothing;
    int32_t token = -1;
};

/// What is larger than every logit's word: some logit of the row is not finite.
constexpr Wide broken = ~Wide{0};

__device__ Wide word_of(float logit, int id) {
    return static_cast<Wide>(ordered_bits(logit)) << 32 | ~static_cast<uint32_t>(id);
}

/// Reads the row into the blocks' memory, changed as its record says.
template <int blocks>
__device__ Largest read_row(Team<blocks>& team, const Call& call, int64_t row, const RowSampling& choice,
                            const Part& part) {
    float best = nothing;
    int best_id = 0x7fffffff;
    bool finite = true;
    load(call.logits + row * call.stride + part.first, part, [&](float logit, int id) {
        finite = finite && isfinite(logit);
        if (logit > best || (logit == best && id < best_id)) best = logit, best_id = id;
    });
    Wide mine = best == nothing ? 0 : word_of(best, best_id);
    __syncthreads();
    if (is_changed(choice)) {
        mask_out(call, choice, part);
        edit(call, choice, part);
        mine = 0;
        part.each([&](float logit, int id) {
            if (logit != nothing) mine = max(mine, word_of(logit, id));
        });
    }
    const Wide all = team.largest(finite ? mine : broken);
    if (all == broken) return {.finite = false};
    if (all == 0) return {};
    return {true, from_ordered_bits(static_cast<uint32_t>(all >> 32)),
            static_cast<int32_t>(~static_cast<uint32_t>(all))};
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
    /// A weight's place on the scale of logits, rounded towards the largest one.
    __device__ float below_for(double weight) const { return __double2float_ru(log(weight) / weigh.rate); }

    /// Counts (and weighs) by the digit at `shift` the candidates whose higher digits are those of `prefix`.
    template <bool weighed>
    __device__ void count_digits(uint32_t prefix, int shift, int bits) {
        auto& histogram = team.memory.histogram;
        for (int i = threadIdx.x; i < digits; i += threads) {
            histogram.counts[i] = 0;
            for (int p = 0; weighed && p < team.pieces; ++p) histogram.weights[p][i] = 0;
        }
        __syncthreads();
        uint32_t digit = 0, run = 0;  // equal neighbours are added up before they are counted
        Wide weight = 0;
        auto flush = [&] {
            if (run == 0) return;
            atomicAdd(&histogram.counts[digit], run);
            for (int p = 0; weighed && p < team.pieces; ++p) {
                Wide piece = weight >> (p * team.piece_bits);
                if (p + 1 < team.pieces) piece &= (1u << team.piece_bits) - 1;
                if (piece > 0) atomicAdd(&histogram.weights[p][digit], static_cast<uint32_t>(piece));
            }
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

    /// This thread's digits in all blocks' histograms, and what comes before them.
    struct Digits {
        static constexpr int own = digits / threads;
        Wide counts[own] = {}, weights[own] = {};
        Wide count_before = 0, weight_before = 0, all = 0;  // all: candidates in the histogram
    };
    template <bool weighed>
    __device__ Digits add_digits() {
        Digits result;
        for (int block = 0; block < blocks; ++block) {
            const auto& other = team.of(block).histogram;
            for (int i = 0; i < Digits::own; ++i) {
                const int digit = threadIdx.x * Digits::own + i;
                result.counts[i] += other.counts[digit];
                for (int p = 0; weighed && p < team.pieces; ++p)
                    result.weights[i] += static_cast<Wide>(other.weights[p][digit]) << (p * team.piece_bits);
            }
        }
        team.sync();  // nobody reads the histograms any more
        result.all = team.sum_of_threads(result.counts[0] + result.counts[1], result.count_before);
        if (weighed) team.sum_of_threads(result.weights[0] + result.weights[1], result.weight_before);
        return result;
    }

    /// Finds the digit in which the running count or weight reaches `goal`; count, weight: what comes before
    /// it, given what came before the first digit.
    __device__ uint32_t find_digit(const Digits& mine, double goal, bool by_weight, Wide& count,
                                   Wide& weight) {
        if (threadIdx.x == 0) team.memory.digit = digits;  // no goal reached
        __syncthreads();
        Wide counted = count + mine.count_before, weighed = weight + mine.weight_before;
        for (int i = 0; i < Digits::own; ++i) {
            const Wide before = by_weight ? weighed : counted;
            const Wide through = before + (by_weight ? mine.weights[i] : mine.counts[i]);
            if (static_cast<double>(before) < goal && static_cast<double>(through) >= goal) {
                team.memory.digit = threadIdx.x * Digits::own + i;
                team.memory.found[0] = counted;
                team.memory.found[1] = weighed;
            }
            counted += mine.counts[i], weighed += mine.weights[i];
        }
        __syncthreads();
        const uint32_t digit = team.memory.digit;
        if (digit < digits) count = team.memory.found[0], weight = team.memory.found[1];
        __syncthreads();
        return min(digit, digits - 1u);
    }

    /// goal: a number of candidates, or a weight; at most that of all candidates. first: their first digits.
    __device__ Boundary find_boundary(const Digits& first, double goal, bool by_weight) {
        Wide count = 0, weight = 0;
        uint32_t key = find_digit(first, goal, by_weight, count, weight);
        for (const int shift : {10, 0}) {
            count_digits<true>(key, shift, 10);
            key = key << 10 | find_digit(add_digits<true>(), goal, by_weight, count, weight);
        }
        const Wide each = weigh(below_of(key));
        const double missing = goal - static_cast<double>(by_weight ? weight : count);
        const double unit = by_weight ? static_cast<double>(max(each, Wide{1})) : 1.0;
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
        const bool here = static_cast<double>(before) < goal && static_cast<double>(before + mine) >= goal;
        // The warp of the thread in whose part the goal lies goes through that part together.
        const unsigned which = __ballot_sync(0xffffffffu, here);
        if (which == 0) return;
        const int lane = threadIdx.x % 32, source = __ffs(which) - 1;
        Wide sum = __shfl_sync(0xffffffffu, before, source);
        const int begin = __shfl_sync(0xffffffffu, part.begin, source),
                  end = __shfl_sync(0xffffffffu, part.end, source);
        for (int i = begin; i < end; i += 32) {
            const float below = i + lane < end ? part.values[i + lane] - largest : nothing;
            Wide through = below != nothing && below >= floor ? weigh(below) : 0;
            for (int offset = 1; offset < 32; offset *= 2) {
                const Wide other = __shfl_up_sync(0xffffffffu, through, offset);
                if (lane >= offset) through += other;
            }
            const unsigned reached = __ballot_sync(0xffffffffu, static_cast<double>(sum + through) >= goal);
            if (reached != 0) {
                if (lane == 0) team.first().token = part.first + i + __ffs(reached) - 1;
                return;
            }
            sum += __shfl_sync(0xffffffffu, through, 31);
        }
    }

    /// By falling logits. limit: how many are kept, or 0; total: the weight of all, where there is no limit.
    __device__ void choose_by_boundaries(int limit, Wide total) {
        count_digits<true>(0, 20, 11);
        const Digits first = add_digits<true>();
        if (limit > 0) total = find_boundary(first, limit, false).weight;
        if (choice.top_p < 1.0f)
            total = find_boundary(first, static_cast<double>(choice.top_p) * static_cast<double>(total), true)
                        .weight;
        choose_at(find_boundary(first, choice.uniform * static_cast<double>(total), true));
    }

    /// Lists the candidates in the first block's memory, in no order. Returns their number; a list of more
    /// than most_listed is not made.
    __device__ int list_candidates() {
        Memory& memory = team.memory;
        if (threadIdx.x == 0) memory.listed = 0;
        __syncthreads();
        each_candidate([&](float below, int id) {
            const uint32_t place = atomicAdd(&memory.listed, 1u);
            if (place < most_listed)
                memory.list[place] = static_cast<Wide>(key_of(below)) << 32 | static_cast<uint32_t>(id);
        });
        __syncthreads();
        const auto own = static_cast<int>(memory.listed);
        Wide before = 0;
        const auto count = static_cast<int>(team.sum_of_blocks(static_cast<Wide>(own), before));
        if (count > most_listed) return count;
        if (team.rank() > 0)
            for (int i = threadIdx.x; i < own; i += threads) team.first().list[before + i] = memory.list[i];
        team.sync();
        return count;
    }

    /// By sorting; the first block's work.
    __device__ void choose_from_list(int count, int limit, Wide total) {
        Memory& memory = team.memory;
        int padded = 1;
        while (padded < count) padded *= 2;
        for (int i = count + threadIdx.x; i < padded; i += threads) memory.list[i] = ~Wide{0};
        sort_list(memory.list, padded);
        const int kept = limit > 0 ? min(limit, count) : count;
        // A thread's neighbouring entries, and the weights up to each.
        constexpr int own = most_listed / threads;
        const int begin = threadIdx.x * own;
        Wide through[own], sum = 0, weight_before = 0;
        for (int i = 0; i < own; ++i) {
            if (begin + i < kept) sum += weigh(below_of(static_cast<uint32_t>(memory.list[begin + i] >> 32)));
            through[i] = sum;
        }
        const Wide listed = team.sum_of_threads(sum, weight_before);
        if (limit > 0) total = listed;
        /// The place of the entry where the sum reaches `goal`, else the last one's.
        auto reach = [&](double goal) {
            if (threadIdx.x == 0) memory.digit = kept - 1, memory.found[0] = listed;
            __syncthreads();
            for (int i = 0; i < own; ++i) {
                const Wide low = weight_before + (i > 0 ? through[i - 1] : 0),
                           high = weight_before + through[i];
                if (begin + i < kept && static_cast<double>(low) < goal && static_cast<double>(high) >= goal)
                    memory.digit = begin + i, memory.found[0] = high;
            }
            __syncthreads();
        };
        if (choice.top_p < 1.0f) {
            reach(static_cast<double>(choice.top_p) * static_cast<double>(total));
            total = memory.found[0];
            __syncthreads();
        }
        reach(choice.uniform * static_cast<double>(total));
        if (threadIdx.x == 0)
            memory.token = static_cast<int32_t>(static_cast<uint32_t>(memory.list[memory.digit]));
    }

    /// Whether top-k cuts candidates off; then only those in the first digits that hold `top_k` of them stay
    /// candidates.
    __device__ bool keep_first_digits() {
        count_digits<false>(0, 20, 11);
        const Digits mine = add_digits<false>();
        if (mine.all <= static_cast<Wide>(choice.top_k)) return false;
        Wide count = 0, weight = 0;
        const uint32_t digit = find_digit(mine, choice.top_k, false, count, weight);
        floor = fmaxf(floor, below_of(((digit + 1) << 20) - 1));
        return true;
    }

    /// Tokens that even together weigh less than the part that top-p cuts off are no candidates. Returns the
    /// weight of all before.
    __device__ Wide keep_heavy() {
        Wide mine = 0, candidates = 0;
        each_candidate([&](float below, int) { mine += weigh(below), ++candidates; });
        const Wide total = team.sum(mine);
        candidates = team.sum(candidates);
        const double least = static_cast<double>(total) / weigh.one *
                             (1.0 - static_cast<double>(choice.top_p)) / static_cast<double>(candidates);
        if (least > 0) floor = fmaxf(floor, below_for(least));
        return total;
    }

    __device__ void choose() {
        floor = choice.min_p > 0 ? below_for(choice.min_p) : -INFINITY;
        const float all = floor;
        const bool limited = choice.top_k > 0 && choice.top_k < columns && keep_first_digits();
        if (!limited && choice.top_p >= 1.0f) return choose_in_place();
        const int limit = limited ? choice.top_k : 0;
        const Wide total = limited ? 0 : keep_heavy();
        const int count = list_candidates();
        if (count <= most_listed) {
            if (team.rank() == 0) choose_from_list(count, limit, total);
            return;
        }
        team.sync();  // lists make room for histograms
        floor = all;
        choose_by_boundaries(limit, total);
    }
};

/// Log-probability and rank of the row's token by its raw logits. Fixed order of sums.
template <int blocks>
__device__ void describe(Team<blocks>& team, const Call& call, int64_t row, const RowSampling& choice,
                         const Part& part, float largest, int32_t token) {
    const float own = call.logits[row * call.stride + token];
    const float* logits = part.values;
    if (is_changed(choice)) {
        logits = call.logits + row * call.stride + part.first;
        Wide best = 0;
        for (int i = threadIdx.x; i < part.count; i += threads)
            best = max(best, static_cast<Wide>(ordered_bits(logits[i])));
        largest = from_ordered_bits(static_cast<uint32_t>(team.largest(best)));
    }
    const Weigher weigh(1.0f, call.columns);
    Wide above = 0, mine = 0;
    for (int i = threadIdx.x; i < part.count; i += threads) {
        above += logits[i] > own;
        mine += weigh(__fsub_rn(logits[i], largest));
    }
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
    const Largest largest = read_row(team, call, row, choice, part);
    int32_t token = max(largest.token, 0);
    if (largest.token >= 0 && choice.temperature >= least_temperature) {
        if (threadIdx.x == 0) memory.token = token;
        team.sync();
        Row<blocks> work{team,          part, choice,      Weigher(choice.temperature, call.columns),
                         largest.logit, 0.0f, call.columns};
        work.choose();
        team.sync();
        token = team.first().token;
    }
    if (team.rank() == 0 && threadIdx.x == 0) {
        const SamplingStatus status = !largest.finite     ? SamplingStatus::not_finite
                                      : largest.token < 0 ? SamplingStatus::nothing_left
                                                          : SamplingStatus::chosen;
        call.results[4 * row] = token;
        call.results[4 * row + 1] = static_cast<int32_t>(status);
        call.results[4 * row + 2] = call.results[4 * row + 3] = 0;
        if (call.chosen && choice.slot >= 0) call.chosen[choice.slot] = token;
        if (call.normalizers) call.normalizers[row] = NAN;
    }
    if (call.normalizers && largest.finite) describe(team, call, row, choice, part, largest.logit, token);
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
    const size_t part = form == SamplingForm::block
                            ? 0
                            : static_cast<size_t>((columns + cluster_blocks - 1) / cluster_blocks + 3) / 4 *
                                  4 * sizeof(float);
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
    return columns <= 1 << 20 && (logprobs <= 0 || fits_wide_top_k(columns, logprobs));
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
              .chosen = static_cast<int32_t*>(batch.chosen.raw()),
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
