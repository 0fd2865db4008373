// Scoring: a forward pass over given tokens and what it says about them: logits, likelihood, divergence
// between two models. Used by the score and compare commands and by the compressors' reports. Needs no
// engine; must not know text.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/cache_pool.h"
#include "model/model.h"
#include "ops/ops.h"

namespace sheaf {

/// Rows of logits for positions [first, first + rows): f32 in host memory, (rows, vocabulary), valid during
/// the call.
using LogitsSink = std::function<void(int64_t first, int64_t rows, std::span<const float> logits)>;

class Scorer {
  public:
    /// Room for sequences of up to `max_tokens`.
    Scorer(std::shared_ptr<const Model> model, Machine& machine, int64_t max_tokens);

    int64_t vocabulary() const { return model_->config.text.vocab_size; }
    /// Runs the tokens from an empty state, in chunks, and hands out the logits of every position (or of the
    /// last one only). Errors: invalid_input for an empty list, ids outside the vocabulary, more than
    /// max_tokens.
    void run(std::span<const int32_t> tokens, bool last_only, const LogitsSink& sink);

  private:
    std::shared_ptr<const Model> model_;
    CachePool pool_;
    std::unique_ptr<Ops> ops_;
    int64_t max_tokens_, chunk_;
};

/// Running sum of -log p(token) over positions that have a successor.
struct Likelihood {
    double negative_log_likelihood = 0;
    int64_t tokens = 0;
    void add(std::span<const float> row, int32_t next);
    double perplexity() const;
};

/// KL(a || b) per position, and how often both prefer the same token.
struct Divergence {
    std::vector<double> kl;
    int64_t same_top = 0;
    void add(std::span<const float> a, std::span<const float> b);
    double mean() const;
    double maximum() const;
    double percentile(double share) const;  // 0.99 -> p99, nearest rank
    double top1_agreement() const;
};

}  // namespace sheaf
