#include "backend/cuda/sequence/choices.h"

namespace sheaf::cuda {
namespace {

SequenceChoices forced;

}  // namespace

std::optional<AttentionCut> attention_cut(int64_t pairs, int64_t max_length) {
    if (forced.attention) return forced.attention;
    // H200, 2 kv heads of 256, us, sequences x context: clusters of 8, 4, 2, 1; separate launches.
    //   1 x 127: 8.3, 8.0, 7.9, -; 12.0    1 x 1,023: 10.2, 11.1, 12.8, -; 12.7    1 x 32,767: 49, 34, 38, -;
    //   31 8 x 127: 20.7, 10.5, 8.5, 7.7; 13.5    8 x 1,023: 25.4, 15.8, 18.4, 27.7; 16.6 8 x
    //   4,095: 44.7, 32.0, 49.9, 51.6; 45.1    8 x 32,767: 210, 243, 158, 148; 167 64 x 127:
    //   -, 72.7, 24.2, 13.8; 20.3    64 x 1,023: -, 112, 48.6, 38.7; 80.9
    constexpr int64_t short_length = 4096;
    if (max_length > short_length)
        return pairs >= 16 ? std::optional(AttentionCut{1, 1, 8, 64, 1024}) : std::nullopt;
    if (pairs <= 4) return AttentionCut{8, 8, 16, 64, 256};
    if (pairs <= 16) return AttentionCut{4, 4, 4};
    if (pairs <= 64) return AttentionCut{2, 2, 2};
    return AttentionCut{};
}

void force_choices(const SequenceChoices& choices) {
    forced = choices;
}

const SequenceChoices& forced_choices() {
    return forced;
}

}  // namespace sheaf::cuda
