// Which kernels of this folder do what, and how they divide their work: the tables' answers, and a way to fix
// them. Used by the .cpp files here, by tests and benches, and by whoever wants results that do not depend on
// what else is in the batch. Must not know kernels.
#pragma once

#include <cstdint>
#include <optional>

namespace sheaf::cuda {

/// How one-launch decode attention cuts a sequence's keys (kernels.h, AttentionStepWork).
struct AttentionCut {
    int32_t cluster = 1;
    int32_t usual_parts = 1, most_parts = 1;
    int32_t shortest_part = 64, longest_part = 2048;  // keys
};
/// For `pairs` = sequences times kv heads, of up to max_length keys; none: separate launches are faster.
std::optional<AttentionCut> attention_cut(int64_t pairs, int64_t max_length);

/// A fixed choice wherever it can run. Set before any work is recorded.
struct SequenceChoices {
    bool separate_launches = false;  // decode attention and the DeltaNet step in the kernels of other batches
    bool fixed_parts = false;        // attention's parts by a sequence's own length, however many there are
    std::optional<AttentionCut> attention;
};
void force_choices(const SequenceChoices& choices);
const SequenceChoices& forced_choices();

/// What is computed for a sequence is then the same bits in any company; costs time in decode.
constexpr SequenceChoices batch_invariant_choices{true, true, {}};

}  // namespace sheaf::cuda
