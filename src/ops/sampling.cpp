#include "ops/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "ops/logits.h"
#include "ops/ops.h"

namespace sheaf {
namespace {

constexpr float masked = -std::numeric_limits<float>::infinity();

void apply_mask(std::vector<float>& logits, std::span<const uint32_t> mask) {
    if (mask.empty()) return;
    for (size_t token = 0; token < logits.size(); ++token)
        if ((mask[token / 32] >> (token % 32) & 1) == 0) logits[token] = masked;
}

void apply_edits(std::vector<float>& logits, const RowSampling& row, std::span<const LogitEdit> edits) {
    for (const LogitEdit& edit : edits) {
        float value = logits[edit.token] + edit.add;
        if (edit.kind & LogitEdit::masked) value = masked;
        if (edit.kind & LogitEdit::repeated)
            value = value > 0 ? value / row.repetition_penalty : value * row.repetition_penalty;
        logits[edit.token] = value - edit.subtract;
    }
}

int32_t argmax(std::span<const float> logits) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

struct Candidate {
    int32_t token;
    double weight;  // exp((logit - largest) / temperature)
};

bool more_likely(const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

int32_t draw(std::span<const float> logits, const RowSampling& row) {
    const float largest = logits[argmax(logits)];
    std::vector<Candidate> candidates;
    double total = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
        if (logits[i] == masked) continue;
        const double weight = std::exp(static_cast<double>(logits[i] - largest) / row.temperature);
        if (weight < row.min_p) continue;  // the most likely token has weight 1
        candidates.push_back({static_cast<int32_t>(i), weight});
        total += weight;
    }
    const size_t top_k = row.top_k > 0 ? static_cast<size_t>(row.top_k) : candidates.size();
    if (top_k < candidates.size()) {
        std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(top_k),
                         candidates.end(), more_likely);
        candidates.resize(top_k);
        std::sort(candidates.begin(), candidates.end(), more_likely);  // fixes the order of the sum
        total = 0;
        for (const Candidate& candidate : candidates) total += candidate.weight;
    }
    if (row.top_p < 1.0f) {
        // Tokens that even together weigh less than the part to be cut off need no sorting.
        const double least = total * (1.0 - row.top_p) / static_cast<double>(candidates.size());
        std::erase_if(candidates, [&](const Candidate& candidate) { return candidate.weight < least; });
        std::sort(candidates.begin(), candidates.end(), more_likely);
        double sum = 0;
        size_t kept = 0;
        while (kept < candidates.size() && sum < row.top_p * total) sum += candidates[kept++].weight;
        candidates.resize(std::max<size_t>(kept, 1));
        total = sum;
    }
    double left = row.uniform * total;
    for (const Candidate& candidate : candidates) {
        left -= candidate.weight;
        if (left <= 0) return candidate.token;
    }
    return candidates.back().token;
}

template <class T>
std::vector<T> to_host(Ops& ops, const Tensor& x) {
    std::vector<T> values(x.defined() ? x.bytes() / sizeof(T) : 0);
    if (!values.empty()) ops.download(x, values.data());
    return values;
}

}  // namespace

bool all_finite(std::span<const float> logits) {
    float largest = masked, smallest = std::numeric_limits<float>::infinity();
    bool nan = false;
    for (const float value : logits) {
        nan |= value != value;
        largest = std::max(largest, value);
        smallest = std::min(smallest, value);
    }
    return !nan && std::isfinite(largest) && std::isfinite(smallest);
}

SampledRow choose(std::span<const float> logits, const RowSampling& row, std::span<const LogitEdit> edits,
                  std::span<const uint32_t> mask) {
    if (!all_finite(logits)) return {.status = SamplingStatus::not_finite};
    const size_t limit =
        row.limit > 0 ? std::min(static_cast<size_t>(row.limit), logits.size()) : logits.size();
    std::vector<float> values(logits.begin(), logits.end());
    apply_mask(values, mask);
    apply_edits(values, row, edits);
    values.resize(limit);
    const int32_t best = argmax(values);
    if (values[best] == masked) return {.status = SamplingStatus::nothing_left};
    return {.token = row.temperature < least_temperature ? best : draw(values, row)};
}

double describe(std::span<const float> logits, SampledRow& row) {
    const double normalizer = log_sum_exp(logits);
    const float own = logits[row.token];
    row.logprob = static_cast<float>(static_cast<double>(own) - normalizer);
    row.rank = 1 + static_cast<int32_t>(
                       std::count_if(logits.begin(), logits.end(), [&](float value) { return value > own; }));
    return normalizer;
}

void largest_ids(std::span<const float> logits, std::span<int32_t> ids) {
    std::vector<int32_t> all(logits.size());
    std::iota(all.begin(), all.end(), 0);
    std::partial_sort_copy(all.begin(), all.end(), ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
        return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
}

void sample_row(std::span<const float> logits, const RowSampling& row, std::span<const LogitEdit> edits,
                std::span<const uint32_t> masks, int32_t logprobs, SampledRow& result, int32_t* best_ids,
                float* best_logprobs) {
    const size_t words = (logits.size() + 31) / 32;
    const auto own = edits.subspan(row.edits > 0 ? static_cast<size_t>(row.first_edit) : 0,
                                   static_cast<size_t>(row.edits));
    const auto mask = row.mask < 0 ? std::span<const uint32_t>{}
                                   : masks.subspan(static_cast<size_t>(row.mask) * words, words);
    result = choose(logits, row, own, mask);
    if (logprobs < 0) return;
    const std::span<int32_t> ids(best_ids, static_cast<size_t>(logprobs));
    std::fill(ids.begin(), ids.end(), 0);
    std::fill_n(best_logprobs, logprobs, 0.0f);
    if (result.status == SamplingStatus::not_finite) return;
    const double normalizer = describe(logits, result);
    largest_ids(logits, ids);
    for (size_t n = 0; n < ids.size(); ++n)
        best_logprobs[n] = static_cast<float>(static_cast<double>(logits[ids[n]]) - normalizer);
}

Tensor Ops::known_tokens(const Tensor& token_ids, const Tensor& chosen) {
    auto tokens = to_host<int32_t>(*this, token_ids);
    const auto kept = to_host<int32_t>(*this, chosen);
    for (int32_t& token : tokens)
        if (token < 0) token = kept[static_cast<size_t>(-1 - token)];
    return upload(tokens.data(), DType::i32, token_ids.shape());
}

Sampled Ops::sample(const Tensor& logits, const SamplingBatch& batch) {
    const int64_t rows = logits.size(0), vocabulary = logits.size(1), count = std::max(batch.logprobs, 0);
    const auto values = to_host<float>(*this, logits.contiguous() ? logits : cast(logits, DType::f32));
    const auto records = to_host<RowSampling>(*this, batch.rows);
    const auto edits = to_host<LogitEdit>(*this, batch.edits);
    const auto masks = to_host<uint32_t>(*this, batch.masks);
    std::vector<SampledRow> results(static_cast<size_t>(rows));
    std::vector<int32_t> ids(static_cast<size_t>(rows * count));
    std::vector<float> logprobs(ids.size());
    for (int64_t i = 0; i < rows; ++i)
        sample_row(
            std::span(values).subspan(static_cast<size_t>(i * vocabulary), static_cast<size_t>(vocabulary)),
            records[i], edits, masks, batch.logprobs, results[i], ids.data() + i * count,
            logprobs.data() + i * count);
    Sampled sampled;
    sampled.rows = upload(results.data(), DType::i32, Shape{rows, 4});
    if (count > 0) {
        sampled.best_ids = upload(ids.data(), DType::i32, Shape{rows, count});
        sampled.best_logprobs = upload(logprobs.data(), DType::f32, Shape{rows, count});
    }
    if (!batch.chosen.defined()) return sampled;
    std::vector<int32_t> slots, tokens;
    for (size_t i = 0; i < records.size(); ++i) {
        if (records[i].slot < 0) continue;
        slots.push_back(records[i].slot);
        tokens.push_back(results[i].token);
    }
    const auto kept = static_cast<int64_t>(slots.size());
    if (kept == 0) return sampled;
    scatter_rows(batch.chosen.view(Shape{batch.chosen.elements(), 1}),
                 upload(slots.data(), DType::i32, Shape{kept}),
                 upload(tokens.data(), DType::i32, Shape{kept, 1}));
    return sampled;
}

}  // namespace sheaf
