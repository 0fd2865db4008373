#include "compress/score.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/logits.h"
#include "ops/contracts.h"

namespace sheaf {
namespace {

constexpr int64_t block_size = 64;
constexpr int64_t largest_chunk = 512;
constexpr int64_t logits_at_once = 16 << 20;  // floats

}  // namespace

Scorer::Scorer(std::shared_ptr<const Model> model, Machine& machine, int64_t max_tokens)
    : model_(std::move(model)),
      pool_(model_->config.text, machine, 1, static_cast<int32_t>((max_tokens + block_size - 1) / block_size),
            block_size),
      ops_(checked_in_debug(machine.make_ops())),
      max_tokens_(max_tokens),
      chunk_(std::clamp<int64_t>(logits_at_once / model_->config.text.vocab_size, 1, largest_chunk)) {}

void Scorer::run(std::span<const int32_t> tokens, bool last_only, const LogitsSink& sink) {
    const auto size = static_cast<int64_t>(tokens.size());
    if (size == 0) fail(ErrorKind::invalid_input, "there are no tokens to score");
    if (size > max_tokens_)
        fail(ErrorKind::invalid_input, "{} tokens, more than the {} there is room for", size, max_tokens_);
    for (const int32_t token : tokens)
        if (token < 0 || token >= vocabulary())
            fail(ErrorKind::invalid_input, "token id {} is outside the vocabulary of {}", token,
                 vocabulary());
    SequenceMemory memory = pool_.acquire();
    memory.reserve(size);
    std::vector<float> logits;
    for (int64_t first = 0; first < size; first += chunk_) {
        const int64_t count = std::min(chunk_, size - first);
        const bool last = first + count == size;
        std::vector<int32_t> positions(static_cast<size_t>(3 * count)), rows(static_cast<size_t>(count));
        for (int64_t i = 0; i < 3 * count; ++i) positions[i] = static_cast<int32_t>(first + i % count);
        std::iota(rows.begin(), rows.end(), 0);
        if (last_only) rows.assign(last ? 1 : 0, static_cast<int32_t>(count - 1));

        ops_->begin_step();
        Batch batch;
        batch.token_ids = ops_->upload(tokens.data() + first, DType::i32, Shape{count});
        batch.positions = ops_->upload(positions.data(), DType::i32, Shape{3, count});
        const SequenceSpan span{.begin = 0,
                                .count = static_cast<int32_t>(count),
                                .context = static_cast<int32_t>(first),
                                .slot = memory.slot(),
                                .blocks = memory.blocks()};
        batch.sequences = std::span(&span, 1);
        batch.kv = pool_.kv();
        batch.state = pool_.state();
        if (rows.empty()) {
            model_->text.hidden(*ops_, batch);
            continue;
        }
        const auto outputs = static_cast<int64_t>(rows.size());
        batch.output_rows = ops_->upload(rows.data(), DType::i32, Shape{outputs});
        logits.resize(static_cast<size_t>(outputs * vocabulary()));
        ops_->download(model_->text.forward(*ops_, batch), logits.data());
        sink(last_only ? size - 1 : first, outputs, logits);
    }
}

void Likelihood::add(std::span<const float> row, int32_t next) {
    negative_log_likelihood += log_sum_exp(row) - static_cast<double>(row[next]);
    ++tokens;
}

double Likelihood::perplexity() const {
    return tokens > 0 ? std::exp(negative_log_likelihood / static_cast<double>(tokens)) : 0.0;
}

void Divergence::add(std::span<const float> a, std::span<const float> b) {
    SHEAF_CHECK(a.size() == b.size());
    const double za = log_sum_exp(a), zb = log_sum_exp(b);
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        const double log_p = static_cast<double>(a[i]) - za, log_q = static_cast<double>(b[i]) - zb;
        const double p = std::exp(log_p);
        if (p > 0) sum += p * (log_p - log_q);
    }
    kl.push_back(std::max(sum, 0.0));
    same_top +=
        std::max_element(a.begin(), a.end()) - a.begin() == std::max_element(b.begin(), b.end()) - b.begin();
}

double Divergence::mean() const {
    return kl.empty() ? 0.0 : std::accumulate(kl.begin(), kl.end(), 0.0) / static_cast<double>(kl.size());
}

double Divergence::maximum() const {
    return kl.empty() ? 0.0 : *std::max_element(kl.begin(), kl.end());
}

double Divergence::percentile(double share) const {
    if (kl.empty()) return 0.0;
    std::vector<double> sorted = kl;
    const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
    const size_t at = std::clamp<size_t>(rank, 1, sorted.size()) - 1;
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(at), sorted.end());
    return sorted[at];
}

double Divergence::top1_agreement() const {
    return kl.empty() ? 0.0 : static_cast<double>(same_top) / static_cast<double>(kl.size());
}

}  // namespace sheaf
