// Sampling on the GPU, with rows in clusters of blocks and in single blocks, against the definition: the same
// tokens, statuses, ranks and likeliest ids for every kind of row and of parameters.
#include "backend/cuda/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cuda/testing/device_tensor.h"

namespace sheaf::cuda {
namespace {

using testing::DeviceTensor;

struct Case {
    int64_t rows = 0, vocabulary = 0;
    std::vector<float> logits;
    SamplingRecords records;

    std::span<const float> row(int64_t i) const {
        return std::span(logits).subspan(static_cast<size_t>(i * vocabulary),
                                         static_cast<size_t>(vocabulary));
    }
};

struct Answer {
    std::vector<SampledRow> rows;
    std::vector<int32_t> best_ids;
    std::vector<float> best_logprobs;
};

/// Random numbers in a row, each different.
class Dice {
  public:
    explicit Dice(uint64_t key) : key_(key) {}
    double uniform() { return counter_random_uniform(key_, next_++); }
    int64_t below(int64_t n) { return static_cast<int64_t>(uniform() * static_cast<double>(n)); }
    template <class T>
    T of(std::initializer_list<T> values) {
        return values.begin()[below(std::ssize(values))];
    }

  private:
    uint64_t key_, next_ = 0;
};

enum Kind { random_row, peaked, flat, tied, wide, opposite_zeros, kinds };

float logit_of(Kind kind, Dice& dice, int64_t i) {
    const double u = dice.uniform();
    switch (kind) {
        case random_row:  // about a model's own
            return static_cast<float>(2.5 * std::sqrt(-2 * std::log(u)) *
                                      std::cos(6.2831853 * dice.uniform()));
        case peaked:
            return static_cast<float>(i % 977 == 5 ? 20 + 3 * u : 4 * u - 8);
        case flat:
            return 1.25f;
        case tied:
            return static_cast<float>(std::floor(24 * u) / 4);
        case wide:
            return static_cast<float>(2e4 * u - 1e4);
        default:
            return u < 0.3 ? 0.0f : u < 0.6 ? -0.0f : static_cast<float>(-u);
    }
}

RowSampling random_choice(Dice& dice, int64_t vocabulary) {
    RowSampling row;
    row.uniform = dice.uniform();
    row.temperature = dice.of({0.0f, 0.3f, 0.7f, 1.0f, 1.0f, 2.0f, 60.0f});
    row.top_p = dice.of({1.0f, 1.0f, 0.95f, 0.5f, 0.02f});
    row.min_p = dice.of({0.0f, 0.0f, 0.05f, 0.6f, 1.0f});
    row.top_k = dice.of({0, 0, 1, 20, 50, 1000, 4000, 5000, static_cast<int32_t>(vocabulary)});
    row.repetition_penalty = dice.of({1.3f, 0.8f});
    return row;
}

void add_edits(Case& all, RowSampling& row, int64_t i, Dice& dice) {
    row.first_edit = static_cast<int32_t>(all.records.edits.size());
    const int64_t step = 1 + dice.below(all.vocabulary / 3 + 1);
    for (int64_t token = dice.below(all.vocabulary); token < all.vocabulary; token += step) {
        LogitEdit edit;
        edit.token = static_cast<int32_t>(token);
        edit.add = dice.of({0.0f, 1.5f, -3.0f});
        edit.subtract = dice.of({0.0f, 0.7f});
        edit.kind = dice.of({0, LogitEdit::repeated, LogitEdit::masked});
        all.records.edits.push_back(edit);
    }
    row.edits = static_cast<int32_t>(all.records.edits.size()) - row.first_edit;
    if (i % 5 != 0) return;
    const size_t words = static_cast<size_t>((all.vocabulary + 31) / 32);
    row.mask = static_cast<int32_t>(all.records.masks.size() / words);
    const double share = dice.of({0.0, 0.01, 0.5});
    for (size_t word = 0; word < words; ++word) {
        uint32_t bits = 0;
        for (int bit = 0; bit < 32; ++bit) bits |= static_cast<uint32_t>(dice.uniform() < share) << bit;
        all.records.masks.push_back(bits);
    }
}

Case make_case(int64_t rows, int64_t vocabulary, uint64_t key, int32_t logprobs) {
    Case all{.rows = rows, .vocabulary = vocabulary, .logits = {}, .records = {}};
    Dice dice(key);
    for (int64_t i = 0; i < rows; ++i) {
        const auto kind = static_cast<Kind>((i + static_cast<int64_t>(key)) % kinds);
        for (int64_t token = 0; token < vocabulary; ++token)
            all.logits.push_back(logit_of(kind, dice, token));
        RowSampling row = random_choice(dice, vocabulary);
        if (dice.below(3) == 0) add_edits(all, row, i, dice);
        if (dice.below(4) == 0) row.limit = static_cast<int32_t>(vocabulary - vocabulary / 7);
        row.slot = static_cast<int32_t>(i % 2 == 0 ? rows - 1 - i : -1);
        all.records.rows.push_back(row);
        constexpr float infinity = std::numeric_limits<float>::infinity();
        if (i % 11 == 7)
            all.logits[static_cast<size_t>(i * vocabulary + dice.below(vocabulary))] =
                dice.of({std::numeric_limits<float>::quiet_NaN(), infinity, -infinity});
    }
    all.records.logprobs = logprobs;
    return all;
}

Answer by_definition(const Case& all) {
    const auto best = static_cast<size_t>(std::max(all.records.logprobs, 0));
    Answer answer;
    answer.rows.resize(static_cast<size_t>(all.rows));
    answer.best_ids.resize(answer.rows.size() * best);
    answer.best_logprobs.resize(answer.best_ids.size());
    for (size_t i = 0; i < answer.rows.size(); ++i)
        sample_row(all.row(static_cast<int64_t>(i)), all.records.rows[i], all.records.edits,
                   all.records.masks, all.records.logprobs, answer.rows[i], answer.best_ids.data() + i * best,
                   answer.best_logprobs.data() + i * best);
    return answer;
}

template <class T>
DeviceTensor bytes_of(const std::vector<T>& records) {
    DeviceTensor tensor(DType::u8, Shape{std::ssize(records), static_cast<int64_t>(sizeof(T))});
    if (!records.empty()) tensor.copy_in(records.data());
    return tensor;
}

Answer by_gpu(const Case& all, SamplingForm form) {
    const SamplingRecords& records = all.records;
    const int64_t best = std::max(records.logprobs, 0), words = (all.vocabulary + 31) / 32;
    const DeviceTensor logits(DType::f32, Shape{all.rows, all.vocabulary}, all.logits);
    const DeviceTensor rows = bytes_of(records.rows), edits = bytes_of(records.edits);
    DeviceTensor masks(DType::i32, Shape{std::ssize(records.masks) / words, words});
    if (!records.masks.empty()) masks.copy_in(records.masks.data());
    const DeviceTensor chosen(DType::i32, Shape{all.rows, 4}), ids(DType::i32, Shape{all.rows, best}),
        logprobs(DType::f32, Shape{all.rows, best});
    const DeviceTensor kept(Shape{all.rows}, std::vector<int32_t>(static_cast<size_t>(all.rows), -1));
    const DeviceTensor scratch(
        DType::u8, Shape{static_cast<int64_t>(
                       sampling_scratch_bytes(all.rows, all.vocabulary, records.logprobs, form) + 1)});
    sample(logits,
           {.rows = rows, .edits = edits, .masks = masks, .chosen = kept, .logprobs = records.logprobs},
           {chosen, ids, logprobs}, scratch, form, nullptr);
    const std::vector<int32_t> results = chosen.integers(), by_slot = kept.integers();
    for (size_t i = 0; i < records.rows.size(); ++i) {
        if (records.rows[i].slot < 0) continue;
        EXPECT_EQ(by_slot[static_cast<size_t>(records.rows[i].slot)], results[4 * i]) << "row " << i;
    }
    Answer answer;
    answer.rows.resize(static_cast<size_t>(all.rows));
    std::memcpy(static_cast<void*>(answer.rows.data()), results.data(),
                results.size() * sizeof(int32_t));
    if (best > 0) {
        answer.best_ids = ids.integers();
        answer.best_logprobs = logprobs.floats();
    }
    return answer;
}

void expect_same(const Case& all, const Answer& got, const Answer& wanted) {
    int wrong = 0;
    for (size_t i = 0; i < wanted.rows.size() && wrong < 5; ++i) {
        const SampledRow &a = got.rows[i], &b = wanted.rows[i];
        const RowSampling& row = all.records.rows[i];
        const bool same = a.token == b.token && a.status == b.status && a.rank == b.rank &&
                          std::abs(a.logprob - b.logprob) <= 1e-6f * (1 + std::abs(b.logprob));
        wrong += !same;
        EXPECT_TRUE(same) << "row " << i << ": token " << a.token << " for " << b.token << ", status "
                          << static_cast<int>(a.status) << " for " << static_cast<int>(b.status) << ", rank "
                          << a.rank << " for " << b.rank << ", logprob " << a.logprob << " for " << b.logprob
                          << "; temperature " << row.temperature << ", top_k " << row.top_k << ", top_p "
                          << row.top_p << ", min_p " << row.min_p << ", edits " << row.edits << ", mask "
                          << row.mask << ", limit " << row.limit << ", uniform " << row.uniform;
    }
    EXPECT_EQ(got.best_ids, wanted.best_ids);
    ASSERT_EQ(got.best_logprobs.size(), wanted.best_logprobs.size());
    for (size_t i = 0; i < wanted.best_logprobs.size(); ++i)
        ASSERT_NEAR(got.best_logprobs[i], wanted.best_logprobs[i],
                    1e-6 * (1 + std::abs(wanted.best_logprobs[i])));
}

void compare(int64_t rows, int64_t vocabulary, uint64_t key, int32_t logprobs = -1) {
    const Case all = make_case(rows, vocabulary, key, logprobs);
    const Answer wanted = by_definition(all);
    for (const SamplingForm form : {SamplingForm::cluster, SamplingForm::block}) {
        if (form == SamplingForm::cluster && sampling_form(vocabulary) != form) continue;
        SCOPED_TRACE(fmt::format("{} rows of {}, {}", rows, vocabulary,
                                 form == SamplingForm::cluster ? "clusters" : "blocks"));
        expect_same(all, by_gpu(all, form), wanted);
    }
}

TEST(CudaSampling, ManyRowsOfAFewThousandTokens) {
    uint64_t key = 1;
    for (const int64_t rows : {1, 2, 3, 7, 8, 9, 16, 33, 64, 127, 128, 129, 1000}) compare(rows, 5003, ++key);
    compare(500, 20011, ++key);  // more candidates than are listed
}

TEST(CudaSampling, SmallVocabularies) {
    uint64_t key = 100;
    for (const int64_t vocabulary : {1, 2, 7, 8, 9, 31, 33, 500}) compare(60, vocabulary, ++key);
}

TEST(CudaSampling, AWholeVocabulary) {
    for (uint64_t key = 200; key < 203; ++key) compare(48, 248320, key);
}

TEST(CudaSampling, LogProbabilities) {
    compare(33, 5003, 300, 0);
    compare(33, 5003, 301, 5);
    compare(9, 248320, 302, 20);
    compare(4, 248320, 303, 64);
}

TEST(CudaSampling, TokensChosenBefore) {
    const DeviceTensor chosen(Shape{4}, {70, 71, 72, 73});
    const DeviceTensor tokens(Shape{7}, {5, -1, 0, -4, 9, -3, -2}), result(DType::i32, Shape{7});
    known_tokens(tokens, chosen, result, nullptr);
    EXPECT_EQ(result.integers(), (std::vector<int32_t>{5, 70, 0, 73, 9, 72, 71}));
}

/// A row's token is a matter of the row alone, bit for bit.
TEST(CudaSampling, CompanyChangesNothing) {
    const Case all = make_case(40, 30011, 400, 3);
    const Answer together = by_gpu(all, sampling_form(all.vocabulary));
    for (const int64_t i : {0, 7, 13, 39}) {
        Case one{.rows = 1, .vocabulary = all.vocabulary, .logits = {}, .records = all.records};
        one.logits.assign(all.row(i).begin(), all.row(i).end());
        one.records.rows = {all.records.rows[static_cast<size_t>(i)]};
        one.records.rows[0].slot = -1;
        const Answer alone = by_gpu(one, sampling_form(all.vocabulary));
        EXPECT_EQ(std::memcmp(alone.rows.data(), &together.rows[static_cast<size_t>(i)], sizeof(SampledRow)),
                  0);
    }
}

}  // namespace
}  // namespace sheaf::cuda
