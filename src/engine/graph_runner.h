// GraphRunner: the steps of a model on a machine, and the only place that records them. A step in which every
// sequence has one token looks the same again and again: it is filled up to one of a few sizes with padding
// sequences, done once as it is, recorded the second time, and from then on replayed. Where the machine
// cannot record, and for all other steps, the model simply runs. The tokens of a step are chosen as part of
// it. Used by the model runner and the benchmark. Must not know a particular back end, requests or how tokens
// are chosen.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "model/model.h"
#include "ops/ops.h"

namespace sheaf {

/// The tokens of one step, on the host.
struct StepInput {
    std::vector<int32_t> token_ids;    // -1 - slot: the token that was last chosen for the slot
    std::vector<int32_t> positions;    // (3, tokens)
    std::vector<int32_t> output_rows;  // whose logits are wanted
    std::vector<SequenceSpan> sequences;
    SamplingRecords sampling;  // a row per output row, or none: no tokens are chosen

    int64_t tokens() const { return static_cast<int64_t>(token_ids.size()); }
};

/// On the machine, valid until the next run.
struct StepResult {
    Tensor logits;    // f32 (outputs, vocabulary); without output rows the residual stream (tokens, hidden)
    Sampled sampled;  // where the input had rows for it
};

struct GraphOptions {
    bool replay = true;      // off: the same steps, padding included, each launched anew; same bits
    int32_t max_length = 0;  // of any sequence; 0: not known
};

class GraphRunner {
  public:
    /// `kv` and `state` stay where they are as long as the runner lives.
    GraphRunner(std::shared_ptr<const Model> model, std::unique_ptr<Ops> ops, std::span<const KvLayer> kv,
                std::span<const StateLayer> state, GraphOptions options = {});

    /// Goes on with other caches; forgets what was recorded. chosen: i32 (slots) of the machine, where steps
    /// keep chosen tokens and find those of inputs (Ops::known_tokens); undefined: all inputs are known.
    void attach(std::span<const KvLayer> kv, std::span<const StateLayer> state, const Tensor& chosen = {});

    StepResult run(const StepInput& input);
    Ops& ops() { return *ops_; }

    /// How many sequences a step with `sequences` of them is filled up to; the same number where padding
    /// would not pay.
    static int64_t padded_sequences(int64_t sequences);
    static constexpr int64_t most_recorded = 256;

  private:
    struct Recorded {
        bool done_once = false;
        std::unique_ptr<Recording> recording;
        StepResult result;
    };
    /// What decides how a step is launched, besides its number of sequences.
    struct Form {
        int32_t length_bound = 0;
        int32_t edits = 0;  // room for them; 0: none
        int32_t logprobs = -1;
        bool sampled = false, masked = false;
        auto operator<=>(const Form&) const = default;
    };
    using Key = std::pair<int64_t, Form>;  // padded sequences
    /// What a step computes on, on the machine.
    struct Uploaded {
        Batch batch;
        SamplingBatch sampling;
    };

    bool is_decode(const StepInput& input) const;
    int32_t length_bound(const StepInput& input) const;
    Form form_of(const StepInput& input) const;
    Uploaded upload(const StepInput& input, const Form& form);
    StepResult forward(const Uploaded& step);
    StepResult run_plain(const StepInput& input, const Form& form, Recorded* recorded);
    bool record(Recorded& recorded, const Uploaded& step);

    std::shared_ptr<const Model> model_;
    std::unique_ptr<Ops> ops_;
    std::span<const KvLayer> kv_;
    std::span<const StateLayer> state_;
    Tensor chosen_;
    GraphOptions options_;
    bool machine_records_;
    std::map<Key, Recorded> recorded_;
};

}  // namespace sheaf
