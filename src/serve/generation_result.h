// GenerationResult: a whole answer, gathered from deltas; for answers that are not streamed and for the lines
// of `sheaf generate`. Must not know HTTP.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "serve/generation_service.h"

namespace sheaf {

struct ChoiceResult {
    std::string text;  // raw
    std::string reasoning, content;
    std::vector<ToolCall> tool_calls;
    std::vector<SampledToken> tokens;
    std::vector<PromptLogprob> prompt_logprobs;
    std::string finish_reason;
    nlohmann::ordered_json stop_reason;

    void add(Delta&& delta);
};

/// A sink for callers that want to wait for the end:
///     auto collector = std::make_shared<ResultCollector>();
///     auto generation = service.start(make, collector);
///     collector->wait();
class ResultCollector : public GenerationSink {
  public:
    void accepted(const GenerationRequest& request, const std::vector<BuiltPrompt>& prompts) override;
    void delta(Delta delta, const Usage& usage) override;
    void finished(const Usage& usage) override;
    void failed(const Failure& failure) override;

    /// Returns once the request has finished or failed. Afterwards the members below are valid.
    void wait();
    bool done() const;

    std::vector<ChoiceResult> choices;
    std::vector<std::vector<int32_t>> prompts;  // token ids
    std::optional<GenerationRequest> request;   // without messages and tools
    Usage usage;
    std::optional<Failure> failure;

  private:
    void end();

    mutable std::mutex mutex_;
    std::condition_variable ended_;
    bool done_ = false;
};

/// The output line of `sheaf generate` for a collector that is done: id, prompt_token_ids, token_ids, text,
/// reasoning, content, tool_calls, finish_reason, usage, logprobs when asked for; or id and error. With n > 1
/// the further choices are in "choices".
nlohmann::ordered_json line_result(const nlohmann::ordered_json& id, const ResultCollector& collector,
                                   const Tokenizer& tokenizer);

}  // namespace sheaf
