#include "processor/pretokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sheaf {
namespace {

using testing::ElementsAre;

constexpr const char* qwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* qwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* cl100k =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::vector<std::string> pieces(const Pretokenizer& pretokenizer, std::string_view text) {
    std::vector<std::string> result;
    for (size_t at = 0; at < text.size();) {
        size_t end = pretokenizer.next(text, at);
        if (end <= at) return {"no progress"};
        result.emplace_back(text.substr(at, end - at));
        at = end;
    }
    return result;
}

std::vector<std::string> pieces(const char* regex, std::string_view text) {
    return pieces(*Pretokenizer::from_regex(regex), text);
}

TEST(Pretokenizer, WordsNumbersPunctuation) {
    EXPECT_THAT(pieces(qwen35, "Hello, world! 42"), ElementsAre("Hello", ",", " world", "!", " ", "4", "2"));
    EXPECT_THAT(pieces(qwen35, "a(b) ((c"), ElementsAre("a", "(b", ")", " ((", "c"));
    EXPECT_THAT(pieces(qwen35, "x != y;\n\nz"), ElementsAre("x", " !=", " y", ";\n\n", "z"));
}

TEST(Pretokenizer, Contractions) {
    EXPECT_THAT(pieces(qwen35, "we'LL it's 'tis"), ElementsAre("we", "'LL", " it", "'s", " '", "tis"));
    EXPECT_THAT(pieces(qwen35, "'so"), ElementsAre("'s", "o"));
    EXPECT_THAT(pieces(qwen35, "x'\u017Fo"), ElementsAre("x", "'\u017F", "o"));  // folds to s
    EXPECT_THAT(pieces(qwen35, "o'clock"), ElementsAre("o", "'clock"));
    EXPECT_THAT(pieces(Pretokenizer::gpt2(), "we'LL we'll"), ElementsAre("we", "'", "LL", " we", "'ll"));
}

TEST(Pretokenizer, BlanksGiveTheLastOneAway) {
    EXPECT_THAT(pieces(qwen35, "a   b"), ElementsAre("a", "  ", " b"));
    EXPECT_THAT(pieces(qwen35, "a   "), ElementsAre("a", "   "));
    EXPECT_THAT(pieces(qwen35, "a \n \n  b"), ElementsAre("a", " \n \n", " ", " b"));
    EXPECT_THAT(pieces(qwen35, "\r\n\t1"), ElementsAre("\r\n", "\t", "1"));
    EXPECT_THAT(pieces(qwen35, "\t\tx"), ElementsAre("\t", "\tx"));
    EXPECT_THAT(pieces(Pretokenizer::gpt2(), "a \n\n b"), ElementsAre("a", " \n\n", " b"));
}

TEST(Pretokenizer, MarksBelongToWordsInQwen35Only) {
    EXPECT_THAT(pieces(qwen35, "q\u0301r .\u0301\u0301"), ElementsAre("q\u0301r", " .", "\u0301\u0301"));
    EXPECT_THAT(pieces(qwen2, "q\u0301r"), ElementsAre("q", "\u0301r"));
    EXPECT_THAT(pieces(qwen2, "q\u0301."), ElementsAre("q", "\u0301."));
    EXPECT_THAT(pieces(qwen35, "\u0301"), ElementsAre("\u0301"));
    EXPECT_THAT(pieces(qwen35, "\u0301."), ElementsAre("\u0301", "."));
}

TEST(Pretokenizer, NumbersByPattern) {
    EXPECT_THAT(pieces(cl100k, "12345 6"), ElementsAre("123", "45", " ", "6"));
    EXPECT_THAT(pieces(Pretokenizer::gpt2(), "x 12345"), ElementsAre("x", " 12345"));
    EXPECT_THAT(pieces(qwen35, "²٣"), ElementsAre("²", "٣"));
}

TEST(Pretokenizer, RefusesOtherExpressions) {
    EXPECT_FALSE(Pretokenizer::from_regex(R"(\w+|\s+)"));
    EXPECT_FALSE(Pretokenizer::from_regex(""));
    EXPECT_FALSE(Pretokenizer::from_regex(std::string(qwen35) + "|x"));
    EXPECT_EQ(Pretokenizer::from_regex(qwen35)->name(), "Qwen3.5");
    EXPECT_EQ(Pretokenizer::from_regex(qwen2)->name(), "Qwen2");
}

}  // namespace
}  // namespace sheaf
