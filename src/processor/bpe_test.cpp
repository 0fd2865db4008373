#include "processor/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/error.h"

namespace sheaf {
namespace {

std::vector<Bpe::Token> single_bytes() {
    std::vector<Bpe::Token> tokens;
    for (int b = 0; b < 256; ++b) tokens.push_back({std::string(1, static_cast<char>(b)), b});
    return tokens;
}

/// A random vocabulary over a few letters, in which merges of later tokens may well rank before earlier ones.
struct Random {
    std::vector<Bpe::Token> tokens = single_bytes();
    std::vector<Bpe::Merge> merges;

    explicit Random(uint32_t seed, bool shuffle) {
        std::mt19937 random(seed);
        std::map<std::string, int32_t> ids;
        for (const Bpe::Token& token : tokens) ids[token.bytes] = token.id;
        std::vector<int32_t> usable = {'a', 'b', 'c'};
        while (merges.size() < 60) {
            int32_t left = usable[random() % usable.size()], right = usable[random() % usable.size()];
            std::string joined = tokens[left].bytes + tokens[right].bytes;
            if (joined.size() > 12) continue;
            auto [it, is_new] = ids.try_emplace(joined, static_cast<int32_t>(tokens.size()));
            if (is_new) {
                usable.push_back(it->second);
                tokens.push_back({joined, it->second});
            }
            merges.push_back({left, right, it->second});
        }
        if (shuffle) std::shuffle(merges.begin(), merges.end(), random);
    }

    /// The definition: the pair of lowest rank, the leftmost of equals, until no pair is left.
    std::vector<int32_t> encode(std::string_view word) const {
        std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>> ranks;
        for (size_t i = 0; i < merges.size(); ++i)
            ranks[{merges[i].left, merges[i].right}] = {i, merges[i].result};
        std::vector<int32_t> ids;
        for (char c : word) ids.push_back(static_cast<unsigned char>(c));
        while (true) {
            size_t best = ids.size(), rank = merges.size();
            for (size_t i = 0; i + 1 < ids.size(); ++i) {
                auto it = ranks.find({ids[i], ids[i + 1]});
                if (it != ranks.end() && it->second.first < rank) rank = it->second.first, best = i;
            }
            if (best == ids.size()) return ids;
            ids[best] = ranks[{ids[best], ids[best + 1]}].second;
            ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
        }
    }
};

TEST(Bpe, EqualsTheDefinitionOnRandomVocabularies) {
    for (uint32_t seed = 0; seed < 40; ++seed) {
        Random reference(seed, seed % 2 == 1);
        Bpe bpe(reference.tokens, reference.merges, false);
        std::mt19937 random(seed + 1000);
        Bpe::Scratch scratch;
        for (int i = 0; i < 200; ++i) {
            std::string word;
            size_t size =
                i % 4 == 0 ? random() % 300 : random() % 40;  // both sides of the change of algorithm
            while (word.size() < size) word += "abcz"[random() % (i % 3 == 0 ? 1 : 4)];
            std::vector<int32_t> out;
            bpe.encode(word, scratch, out);
            ASSERT_EQ(out, reference.encode(word)) << "seed " << seed << ", word " << word;
        }
    }
}

TEST(Bpe, WholeWordsOnlyWhereMergesLeadThere) {
    std::vector<Bpe::Token> tokens = single_bytes();
    tokens.push_back({"ab", 256});
    tokens.push_back({"abc", 257});  // no merge makes it
    std::vector<Bpe::Merge> merges = {{'a', 'b', 256}};
    Bpe::Scratch scratch;
    std::vector<int32_t> strict, ignoring;
    Bpe(tokens, merges, false).encode("abc", scratch, strict);
    Bpe(tokens, merges, true).encode("abc", scratch, ignoring);
    EXPECT_EQ(strict, (std::vector<int32_t>{256, 'c'}));
    EXPECT_EQ(ignoring, (std::vector<int32_t>{257}));
}

TEST(Bpe, RefusesBrokenVocabularies) {
    auto message = [](std::vector<Bpe::Token> tokens) -> std::string {
        try {
            Bpe(tokens, {}, false);
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::corrupt_file);
            return e.what();
        }
        return "accepted";
    };
    std::vector<Bpe::Token> tokens = single_bytes();
    EXPECT_EQ(message(tokens), "accepted");
    tokens[10].id = 300;
    EXPECT_EQ(message(tokens), "accepted");  // gaps between ids are allowed
    tokens[10].id = 11;
    EXPECT_NE(message(tokens).find("the id 11"), std::string::npos);
    tokens = single_bytes();
    tokens.erase(tokens.begin() + 65);
    EXPECT_NE(message(tokens).find("0x41"), std::string::npos);
    tokens = single_bytes();
    tokens.push_back({"a", 256});
    EXPECT_NE(message(tokens).find("same bytes"), std::string::npos);
}

TEST(Bpe, UnknownIdsHaveNoBytes) {
    Bpe bpe(single_bytes(), {}, false);
    EXPECT_EQ(bpe.bytes('a'), "a");
    EXPECT_EQ(bpe.bytes(-1), "");
    EXPECT_EQ(bpe.bytes(256), "");
    EXPECT_EQ(bpe.bytes(INT32_MAX), "");
    EXPECT_EQ(bpe.bytes(INT32_MIN), "");
    EXPECT_EQ(bpe.find("b"), 'b');
    EXPECT_EQ(bpe.find("bc"), std::nullopt);
}

}  // namespace
}  // namespace sheaf
