#include "engine/sampler.h"

#include <algorithm>
#include <map>

#include "base/counter_random.h"
#include "base/error.h"

namespace sheaf {
namespace {

/// The ids that params allow as words of bits, and their place among the masks.
int32_t append_mask(const std::vector<int32_t>& allowed, int64_t vocabulary, std::vector<uint32_t>& masks) {
    const auto words = static_cast<size_t>((vocabulary + 31) / 32);
    const size_t first = masks.size();
    masks.resize(first + words, 0);
    for (const int32_t token : allowed) masks[first + static_cast<size_t>(token) / 32] |= 1u << (token % 32);
    return static_cast<int32_t>(first / words);
}

bool has_penalties(const SamplingParams& params) {
    return params.repetition_penalty != 1.0f || params.presence_penalty != 0 || params.frequency_penalty != 0;
}

/// Whether `generated` ends with all of `word` but its last token.
bool completes(std::span<const int32_t> generated, const std::vector<int32_t>& word) {
    if (word.empty() || generated.size() + 1 < word.size()) return false;
    return std::equal(word.begin(), word.end() - 1,
                      generated.end() - static_cast<std::ptrdiff_t>(word.size() - 1));
}

/// Bias, words that must not be completed, and tokens that must not end the answer yet.
std::map<int32_t, LogitEdit> named_edits(const ChoiceInput& input, const SamplingParams& params) {
    std::map<int32_t, LogitEdit> edits;
    for (const auto& [token, bias] : params.logit_bias) edits[token].add += bias;
    for (const auto& word : params.bad_words)
        if (completes(input.generated, word)) edits[word.back()].kind |= LogitEdit::masked;
    if (input.index < params.min_tokens) {
        for (const int32_t token : input.end_tokens) edits[token].kind |= LogitEdit::masked;
        for (const int32_t token : params.stop_token_ids) edits[token].kind |= LogitEdit::masked;
    }
    return edits;
}

LogitEdit penalty_of(const TokenHistory::Entry& entry, const SamplingParams& params) {
    LogitEdit edit;
    if (params.repetition_penalty != 1.0f) edit.kind = LogitEdit::repeated;
    if (entry.generated > 0)
        edit.subtract =
            params.presence_penalty + params.frequency_penalty * static_cast<float>(entry.generated);
    return edit;
}

void append_edits(const ChoiceInput& input, const SamplingParams& params, std::vector<LogitEdit>& edits) {
    auto named = named_edits(input, params);
    if (has_penalties(params)) {
        SHEAF_CHECK(input.history, "penalties need the tokens so far");
        for (const TokenHistory::Entry& entry : input.history->entries()) {
            if (entry.token < 0 || entry.token >= input.vocabulary) continue;
            LogitEdit edit = penalty_of(entry, params);
            if (edit.kind == 0 && edit.subtract == 0) continue;
            edit.token = entry.token;
            if (const auto found = named.find(entry.token); found != named.end()) {
                edit.add = found->second.add;
                edit.kind |= found->second.kind;
                named.erase(found);
            }
            edits.push_back(edit);
        }
    }
    for (auto& [token, edit] : named) {
        edit.token = token;
        edits.push_back(edit);
    }
}

}  // namespace

void TokenHistory::update(std::span<const int32_t> tokens, size_t prompt_size) {
    for (; seen_ < tokens.size(); ++seen_) {
        const auto [place, added] = places_.try_emplace(tokens[seen_], entries_.size());
        if (added) entries_.push_back({.token = tokens[seen_]});
        if (seen_ >= prompt_size) ++entries_[place->second].generated;
    }
}

bool is_greedy(const SamplingParams& params) {
    return params.temperature < least_temperature;
}

bool needs_history(const SamplingParams& params) {
    return has_penalties(params) || std::any_of(params.bad_words.begin(), params.bad_words.end(),
                                                [](const auto& word) { return word.size() > 1; });
}

void append_choice(const ChoiceInput& input, const SamplingParams& params, SamplingRecords& records) {
    RowSampling row;
    row.uniform = counter_random_uniform(params.seed, static_cast<uint64_t>(input.index));
    row.temperature = params.temperature;
    row.top_p = params.top_p;
    row.min_p = params.min_p;
    row.top_k = std::max(params.top_k, 0);
    row.repetition_penalty = params.repetition_penalty;
    row.limit = input.token_limit;
    row.first_edit = static_cast<int32_t>(records.edits.size());
    append_edits(input, params, records.edits);
    row.edits = static_cast<int32_t>(records.edits.size()) - row.first_edit;
    if (!params.allowed_token_ids.empty())
        row.mask = append_mask(params.allowed_token_ids, input.vocabulary, records.masks);
    records.rows.push_back(row);
    records.logprobs = std::max(records.logprobs, params.logprobs);
}

void append_no_choice(SamplingRecords& records) {
    records.rows.push_back({});
}

void check_chosen(SamplingStatus status) {
    if (status == SamplingStatus::not_finite)
        fail(ErrorKind::corrupt_file,
             "the model produced logits that are not finite; its weights or dtype are broken");
    if (status == SamplingStatus::nothing_left)
        fail(ErrorKind::invalid_input,
             "allowed_token_ids, logit_bias and min_tokens leave no token to choose");
}

PromptLogprob token_logprobs(std::span<const float> logits, int32_t token, int32_t alternatives) {
    if (!all_finite(logits)) check_chosen(SamplingStatus::not_finite);
    SampledRow row{.token = token};
    const double normalizer = describe(logits, row);
    PromptLogprob result;
    result.logprob = {token, row.logprob, row.rank};
    if (alternatives <= 0) return result;
    std::vector<int32_t> ids(std::min(static_cast<size_t>(alternatives), logits.size()));
    largest_ids(logits, ids);
    for (size_t i = 0; i < ids.size(); ++i)
        result.alternatives.push_back({ids[i],
                                       static_cast<float>(static_cast<double>(logits[ids[i]]) - normalizer),
                                       static_cast<int32_t>(i) + 1});
    return result;
}

SampledToken sample(const SamplerInput& input, const SamplingParams& params) {
    TokenHistory history;
    history.update(input.prompt, input.prompt.size());
    std::vector<int32_t> tokens(input.prompt.begin(), input.prompt.end());
    tokens.insert(tokens.end(), input.generated.begin(), input.generated.end());
    history.update(tokens, input.prompt.size());
    SamplingRecords records;
    append_choice({.vocabulary = static_cast<int64_t>(input.logits.size()),
                   .index = static_cast<int64_t>(input.generated.size()),
                   .generated = input.generated,
                   .history = &history,
                   .end_tokens = input.end_tokens,
                   .token_limit = input.token_limit},
                  params, records);
    const SampledRow row = choose(input.logits, records.rows[0], records.edits, records.masks);
    check_chosen(row.status);
    SampledToken chosen;
    chosen.token = row.token;
    if (params.logprobs >= 0) {
        PromptLogprob described = token_logprobs(input.logits, row.token, params.logprobs);
        chosen.logprob = described.logprob;
        chosen.alternatives = std::move(described.alternatives);
    }
    return chosen;
}

}  // namespace sheaf
