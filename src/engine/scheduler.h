// Scheduler: which sequences take part in the next step and with how many tokens. Decodes first, then parts
// of prompts ("chunks") under the token budget; when pages run out, the youngest sequence gives its memory
// back and is recomputed later. Tokens in flight count as if they were there: a step may be planned before
// the host has seen the tokens of the one before it. Deterministic, no clock, no model: testable alone. Must
// not know tensors' contents or text.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include "engine/sequence.h"

namespace sheaf {

/// Tokens [sequence.cached, sequence.cached + count) of a sequence in this step.
struct Slice {
    Sequence* sequence = nullptr;
    int32_t count = 0;
    bool completes() const { return count == sequence->pending(); }
};

class Scheduler {
  public:
    /// prompt_cut: Machine::prompt_cut().
    Scheduler(CachePool& pool, int32_t max_num_seqs, int32_t max_num_batched_tokens, int32_t prompt_cut = 1)
        : pool_(pool),
          max_num_seqs_(max_num_seqs),
          max_num_batched_tokens_(prompt_cut > 1
                                      ? std::max(max_num_batched_tokens, max_num_seqs + 2 * prompt_cut)
                                      : max_num_batched_tokens),
          prompt_cut_(prompt_cut) {}

    void add(std::unique_ptr<Sequence> sequence) { waiting_.push_back(std::move(sequence)); }
    /// The slices of the next step; empty when there is nothing to do. The slices' memory is reserved.
    std::vector<Slice> plan();
    /// Removes a sequence in any state and gives its memory back.
    std::unique_ptr<Sequence> remove(Sequence* sequence);
    /// Takes a running sequence's memory; it waits, first in line, and is computed again from its first
    /// token.
    void preempt(Sequence* sequence);

    const std::vector<std::unique_ptr<Sequence>>& running() const { return running_; }
    const std::deque<std::unique_ptr<Sequence>>& waiting() const { return waiting_; }
    uint64_t preemptions() const { return preemptions_; }

    /// Rows whose logits a prompt's log-probabilities need at once are bounded by this many tokens of a
    /// chunk.
    static constexpr int32_t prompt_logprobs_chunk = 64;

  private:
    bool admit();
    bool make_room(Sequence* sequence, int64_t tokens);

    int32_t tokens_to_read(const Sequence& sequence, int32_t budget) const;

    CachePool& pool_;
    int32_t max_num_seqs_, max_num_batched_tokens_, prompt_cut_;
    uint64_t preemptions_ = 0;
    std::vector<std::unique_ptr<Sequence>> running_;  // oldest first
    std::deque<std::unique_ptr<Sequence>> waiting_;
};

}  // namespace sheaf
