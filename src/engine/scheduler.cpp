#include "engine/scheduler.h"

#include <algorithm>

namespace sheaf {

bool Scheduler::admit() {
    if (waiting_.empty() || static_cast<int32_t>(running_.size()) >= max_num_seqs_ || !pool_.has_slot())
        return false;
    Sequence& next = *waiting_.front();
    if (next.in_flight > 0) return false;  // preempted with a token on its way
    // A sequence that failed in company runs alone, and nothing joins it.
    if (next.alone && !running_.empty()) return false;
    if (std::any_of(running_.begin(), running_.end(), [](const auto& sequence) { return sequence->alone; }))
        return false;
    // The whole prompt must fit now, or two half-read prompts could wait for each other's pages. When nothing
    // runs, it fits: submit() refused anything larger than the pool.
    if (pool_.blocks_for(static_cast<int64_t>(next.tokens.size()) + 1) > pool_.blocks_free()) return false;
    next.memory = pool_.acquire();
    next.memory->reserve(static_cast<int64_t>(next.tokens.size()));
    next.cached = 0;
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    return true;
}

void Scheduler::preempt(Sequence* sequence) {
    auto owned = remove(sequence);
    owned->cached = 0;
    if (!owned->prompt_reported) owned->prompt_logprobs.clear();
    waiting_.push_front(std::move(owned));
    ++preemptions_;
}

bool Scheduler::make_room(Sequence* sequence, int64_t tokens) {
    while (!sequence->memory->reserve(tokens)) {
        Sequence* youngest = running_.back().get();
        preempt(youngest);
        if (youngest == sequence) return false;
    }
    return true;
}

/// Of a sequence that has more than one pending.
int32_t Scheduler::tokens_to_read(const Sequence& sequence, int32_t budget) const {
    int32_t count = std::min(sequence.pending(), budget);
    if (sequence.params.prompt_logprobs >= 0)
        count = std::min(count, std::max(prompt_logprobs_chunk, 2 * prompt_cut_));
    if (prompt_cut_ <= 1) return count;
    if (sequence.cached >= sequence.prompt_size) return 1;  // generated before, by steps of one token
    const int32_t end = sequence.cached + count;
    if (end >= sequence.prompt_size) return sequence.prompt_size - sequence.cached;
    // A short rest would be computed as generated tokens are.
    const int32_t last_cut = std::min(end, sequence.prompt_size - prompt_cut_) / prompt_cut_ * prompt_cut_;
    return std::max(last_cut - sequence.cached, 0);
}

std::vector<Slice> Scheduler::plan() {
    while (admit()) {
    }
    std::vector<Slice> slices;
    int32_t budget = max_num_batched_tokens_;
    // Preemption takes the youngest, so walking from the oldest never invalidates a slice that is already
    // planned.
    for (size_t i = 0; i < running_.size() && budget > 0; ++i) {
        Sequence* sequence = running_[i].get();
        if (sequence->pending() != 1) continue;
        if (!make_room(sequence, sequence->length())) break;
        slices.push_back({sequence, 1});
        --budget;
    }
    for (size_t i = 0; i < running_.size() && budget > 0; ++i) {
        Sequence* sequence = running_[i].get();
        if (sequence->pending() <= 1) continue;
        const int32_t count = tokens_to_read(*sequence, budget);
        if (count == 0) continue;
        slices.push_back({sequence, count});
        budget -= count;
    }
    return slices;
}

std::unique_ptr<Sequence> Scheduler::remove(Sequence* sequence) {
    auto same = [&](const auto& owned) { return owned.get() == sequence; };
    std::unique_ptr<Sequence> owned;
    if (const auto at = std::find_if(running_.begin(), running_.end(), same); at != running_.end()) {
        owned = std::move(*at);
        running_.erase(at);
    } else if (const auto it = std::find_if(waiting_.begin(), waiting_.end(), same); it != waiting_.end()) {
        owned = std::move(*it);
        waiting_.erase(it);
    }
    SHEAF_CHECK(owned, "unknown sequence");
    owned->memory.reset();
    return owned;
}

}  // namespace sheaf
