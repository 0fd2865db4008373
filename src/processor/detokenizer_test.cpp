#include "processor/detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "processor/tokenizer_testing.h"
#include "processor/unicode.h"

namespace sheaf {
namespace {

class DetokenizerTest : public ::testing::Test {
  protected:
    int32_t byte(unsigned char b) const {
        return *tokenizer_.token_to_id(std::string(1, static_cast<char>(b)));
    }

    Tokenizer tokenizer_ = Tokenizer::load(testing::small_folder());
};

TEST_F(DetokenizerTest, HoldsHalfCharactersBack) {
    Detokenizer stream(tokenizer_);
    EXPECT_EQ(stream.push(byte(0xF0)), "");
    EXPECT_EQ(stream.push(byte(0x9F)), "");
    EXPECT_EQ(stream.push(byte(0x98)), "");
    EXPECT_EQ(stream.pending(), "\xF0\x9F\x98");
    EXPECT_EQ(stream.push(byte(0x80)), "😀");
    EXPECT_EQ(stream.pending(), "");
    EXPECT_EQ(stream.finish(), "");
}

TEST_F(DetokenizerTest, BrokenBytesAppearAsSoonAsTheyAreCertain) {
    Detokenizer stream(tokenizer_);
    EXPECT_EQ(stream.push(byte(0xE4)), "");
    EXPECT_EQ(stream.push(byte('x')), "\uFFFDx");
    EXPECT_EQ(stream.push(byte(0x80)), "\uFFFD");  // nothing can follow that would make it right
    EXPECT_EQ(stream.push(byte(0xC3)), "");
    EXPECT_EQ(stream.finish(), "\uFFFD");
    EXPECT_EQ(stream.push(byte('y')), "y");  // as new
}

TEST_F(DetokenizerTest, AnUnfinishedCharacterBeforeAnAddedToken) {
    Detokenizer all(tokenizer_), hidden(tokenizer_, true);
    int32_t end = *tokenizer_.eos_token_id();
    EXPECT_EQ(all.push(byte(0xC3)), "");
    EXPECT_EQ(all.push(end), "\uFFFD<|im_end|>");
    EXPECT_EQ(hidden.push(byte(0xC3)), "");
    EXPECT_EQ(hidden.push(end), "");
    EXPECT_EQ(hidden.push(byte(0xA9)), "é");
    EXPECT_EQ(tokenizer_.decode(std::vector<int32_t>{byte(0xC3), end, byte(0xA9)}, true), "é");
}

TEST_F(DetokenizerTest, EqualsWholeDecodingOfRandomBytes) {
    std::mt19937 random(5);
    for (int round = 0; round < 20000; ++round) {
        std::vector<int32_t> ids;
        std::string streamed;
        bool skip = round % 2 == 0;
        Detokenizer stream(tokenizer_, skip);
        for (size_t n = random() % 12; n > 0; --n) {
            static constexpr unsigned char leads[] = {0xC2, 0xE0, 0xE4, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 'a'};
            switch (random() % 4) {
                case 0:
                    ids.push_back(byte(leads[random() % std::size(leads)]));
                    break;
                case 1:
                    ids.push_back(static_cast<int32_t>(random() % (tokenizer_.vocabulary_size() + 5)));
                    break;
                default:
                    ids.push_back(byte(static_cast<unsigned char>(0x80 + random() % 0x40)));
                    break;
            }
            std::string part = stream.push(ids.back());
            ASSERT_EQ(unicode::find_invalid(part), std::nullopt);
            streamed += part;
        }
        streamed += stream.finish();
        ASSERT_EQ(streamed, tokenizer_.decode(ids, skip));
    }
}

}  // namespace
}  // namespace sheaf
