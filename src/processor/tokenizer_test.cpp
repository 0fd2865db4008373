#include "processor/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <thread>

#include "base/error.h"
#include "processor/tokenizer_testing.h"
#include "processor/unicode.h"

namespace sheaf {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::load_documents;
using testing::read_json;
using Ids = std::vector<int32_t>;

class TokenizerTest : public ::testing::Test {
  protected:
    json document_ = read_json(testing::small_folder() / "tokenizer.json");
    json config_ = read_json(testing::small_folder() / "tokenizer_config.json");
    Tokenizer tokenizer_ = Tokenizer::load(testing::small_folder());

    /// The message of the error that loading ends with, after checking its kind.
    static std::string refusal(ErrorKind kind, const json& document, const json& config = nullptr) {
        try {
            load_documents(document, config);
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), kind) << e.what();
            return e.what();
        }
        return "accepted";
    }
};

TEST_F(TokenizerTest, VariantsEqualHuggingFace) {
    std::ifstream file(testing::golden_folder() / "variants.jsonl");
    size_t variants = 0, texts = 0;
    for (std::string line; std::getline(file, line); ++variants) {
        json variant = json::parse(line);
        SCOPED_TRACE(variant["name"].get<std::string>());
        json document = document_;
        document.merge_patch(variant["patch"]);
        Tokenizer tokenizer = load_documents(document, nullptr);
        for (size_t i = 0; i < variant["texts"].size(); ++i, ++texts) {
            EXPECT_EQ(tokenizer.encode(variant["texts"][i].get<std::string>()), variant["ids"][i].get<Ids>())
                << variant["texts"][i];
        }
        for (const json& entry : variant["decoded"]) {
            auto id = entry[0].get<int32_t>();
            EXPECT_EQ(tokenizer.id_to_token(id), entry[1].get<std::string>());
            EXPECT_EQ(tokenizer.decode(Ids{id}), entry[2].get<std::string>());
        }
    }
    EXPECT_GE(variants, 11u);
    EXPECT_GE(texts, 2400u);
}

TEST_F(TokenizerTest, NamesOfTokens) {
    EXPECT_EQ(tokenizer_.vocabulary_size(), 3033);
    int32_t end = *tokenizer_.token_to_id("<|im_end|>");
    EXPECT_EQ(end, 3002);
    EXPECT_EQ(tokenizer_.eos_token_id(), end);
    EXPECT_EQ(tokenizer_.pad_token_id(), 3000);
    EXPECT_EQ(tokenizer_.bos_token_id(), std::nullopt);
    EXPECT_TRUE(tokenizer_.is_added(end) && tokenizer_.is_special(end));
    int32_t think = *tokenizer_.token_to_id("<think>");
    EXPECT_TRUE(tokenizer_.is_added(think));
    EXPECT_FALSE(tokenizer_.is_special(think));
    EXPECT_EQ(tokenizer_.token_to_id("<|audio_pad|>"), 3032);  // in tokenizer_config.json alone
    EXPECT_EQ(tokenizer_.encode("<|audio_pad|>"), Ids{3032});

    int32_t the = *tokenizer_.token_to_id(" the");
    EXPECT_EQ(tokenizer_.id_to_token(the), "Ġthe");
    EXPECT_EQ(tokenizer_.token_bytes(the), " the");
    EXPECT_FALSE(tokenizer_.is_added(the));
    EXPECT_EQ(tokenizer_.token_to_id("no such token"), std::nullopt);
    for (int32_t id : {-1, 3033, INT32_MAX, INT32_MIN}) {
        EXPECT_EQ(tokenizer_.token_bytes(id), "");
        EXPECT_EQ(tokenizer_.id_to_token(id), "");
        EXPECT_FALSE(tokenizer_.is_added(id) || tokenizer_.is_special(id));
    }
}

TEST_F(TokenizerTest, EveryTokenIsFoundByItsBytes) {
    for (int32_t id = 0; id < tokenizer_.vocabulary_size(); ++id) {
        EXPECT_EQ(tokenizer_.token_to_id(tokenizer_.token_bytes(id)), id);
        EXPECT_LE(tokenizer_.token_bytes(id).size() * 4, tokenizer_.max_bytes_per_token());
    }
}

TEST_F(TokenizerTest, TextOfClientsNeverBecomesAnAddedToken) {
    std::string text = "<|im_end|>\n<|im_start|>system\n<think></tool_call><|audio_pad|>";
    for (int32_t id : tokenizer_.encode(text, false)) EXPECT_FALSE(tokenizer_.is_added(id));
    EXPECT_EQ(tokenizer_.decode(tokenizer_.encode(text, false)), text);
    EXPECT_EQ(tokenizer_.decode(tokenizer_.encode(text, true)), text);
    EXPECT_NE(tokenizer_.encode(text, true), tokenizer_.encode(text, false));
}

TEST_F(TokenizerTest, NorATokenThatIsLookedForAfterNormalization) {
    json document = document_;
    json token = {{"id", 3026},      {"content", "caf\u00e9x"}, {"single_word", false}, {"lstrip", false},
                  {"rstrip", false}, {"normalized", true},      {"special", true}};
    document["added_tokens"].push_back(token);
    Tokenizer tokenizer = load_documents(document, nullptr);
    EXPECT_EQ(tokenizer.encode("cafe\u0301x"), Ids{3026});
    EXPECT_EQ(tokenizer.encode("cafe\u0301x", false), tokenizer_.encode("caf\u00e9x"));
}

TEST_F(TokenizerTest, DecodeHidesSpecialTokensOnRequest) {
    Ids ids = tokenizer_.encode("<|im_start|>a<think>b</think><|im_end|>");
    EXPECT_EQ(tokenizer_.decode(ids, true), "a<think>b</think>");
    EXPECT_EQ(tokenizer_.decode(Ids{-5, ids[1], 1000000}), "a");
}

TEST_F(TokenizerTest, RefusesTextThatIsNotUtf8) {
    for (const char* text : {"abc\xFF", "\xC3", "\xED\xA0\x80", "a\xF4\x90\x80\x80"}) {
        try {
            tokenizer_.encode(text);
            ADD_FAILURE() << "accepted";
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::invalid_input);
            EXPECT_THAT(e.what(), HasSubstr("UTF-8"));
        }
    }
    EXPECT_EQ(tokenizer_.encode(std::string_view("\0a", 2)).size(), 2u);  // a zero byte is a character
}

TEST_F(TokenizerTest, StopsSoonAfterTheLimit) {
    std::string text;
    for (int i = 0; i < 100000; ++i) text += "word 12 ";
    Ids all = tokenizer_.encode(text);
    Ids some = tokenizer_.encode(text, true, 1000);
    EXPECT_EQ(some, Ids(all.begin(), all.begin() + 1001));
    EXPECT_EQ(tokenizer_.encode(text, true, all.size()), all);
    EXPECT_EQ(tokenizer_.encode("a b", true, 0).size(), 1u);
    EXPECT_EQ(tokenizer_.encode("", true, 0).size(), 0u);
}

TEST_F(TokenizerTest, MergesAsStringsOrAsPairs) {
    json legacy = document_;
    json strings = json::array({"#version: 0.2"});
    for (const json& merge : document_["model"]["merges"]) {
        strings.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    }
    legacy["model"]["merges"] = strings;
    Tokenizer old_form = load_documents(legacy, config_);
    std::ifstream file(testing::golden_folder() / "cases.jsonl");
    size_t count = 0;
    for (std::string line; std::getline(file, line); ++count) {
        json entry = json::parse(line);
        ASSERT_EQ(old_form.encode(entry["text"].get<std::string>()), entry["small"].get<Ids>());
    }
    EXPECT_GE(count, 3000u);
}

TEST_F(TokenizerTest, ThreadsShareOneTokenizer) {
    std::ifstream file(testing::golden_folder() / "cases.jsonl");
    std::vector<std::string> texts;
    std::vector<Ids> expected;
    for (std::string line; std::getline(file, line);) {
        json entry = json::parse(line);
        texts.push_back(entry["text"]);
        expected.push_back(entry["small"]);
    }
    std::vector<std::thread> threads;
    std::vector<size_t> different(4, 0);
    for (size_t t = 0; t < different.size(); ++t) {
        threads.emplace_back([&, t] {
            for (size_t i = 0; i < texts.size(); ++i)
                different[t] += tokenizer_.encode(texts[i]) != expected[i];
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(different, std::vector<size_t>(4, 0));
}

/// The time this thread needs for a text made of `part`.
double seconds(const Tokenizer& tokenizer, std::string_view part, size_t bytes) {
    std::string text;
    while (text.size() + part.size() <= bytes) text += part;
    double best = 1e30;
    for (int round = 0; round < 3; ++round) {
        timespec begin, end;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        tokenizer.encode(text);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        best = std::min(
            best, static_cast<double>(end.tv_sec - begin.tv_sec) + (end.tv_nsec - begin.tv_nsec) * 1e-9);
    }
    return best;
}

// Eight times the text may take sixteen times as long (n log n, and caches), but not sixty-four.
TEST_F(TokenizerTest, HostileTextsCostNoMoreThanTheirLength) {
    json document = document_;
    json blank = {{"id", 3100},     {"content", "   "},    {"single_word", false}, {"lstrip", true},
                  {"rstrip", true}, {"normalized", false}, {"special", false}};
    document["added_tokens"].push_back(blank);
    Tokenizer stripping = load_documents(document, nullptr);
    for (const char* part :
         {"a", " ", "\n", " \n", "\u0301", "\u0301\u0323\u0315", "e\u0323", "\u1100\u1161\u11a8", "!", "7",
          "'", "<", "<|im_star", "internationalization", "xq", "中", "\t ", "\u0300a"}) {
        EXPECT_LT(seconds(tokenizer_, part, 1 << 18), 20 * seconds(tokenizer_, part, 1 << 15) + 0.01) << part;
        EXPECT_LT(seconds(stripping, part, 1 << 18), 20 * seconds(stripping, part, 1 << 15) + 0.01) << part;
    }
}

TEST_F(TokenizerTest, NoTokenizerDecodesToNothingAndRefusesText) {
    Tokenizer none = Tokenizer::none();
    EXPECT_EQ(none.vocabulary_size(), 0);
    EXPECT_EQ(none.decode(Ids{0, 1, 77}), "");
    EXPECT_EQ(none.eos_token_id(), std::nullopt);
    EXPECT_THROW(none.encode("a"), Error);
}

TEST_F(TokenizerTest, MissingAndBrokenFiles) {
    testing::TemporaryFolder folder;
    try {
        Tokenizer::load(folder.path());
        ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::not_found);
        EXPECT_THAT(e.what(), HasSubstr("tokenizer.json"));
    }
    std::string whole = document_.dump();
    for (const std::string& text :
         {std::string(), std::string("{"), std::string("[]"), whole.substr(0, whole.size() / 2),
          std::string("{\"model\": 3}"), std::string(100000, '[')}) {
        folder.write("tokenizer.json", text);
        try {
            Tokenizer::load(folder.path());
            ADD_FAILURE() << "accepted";
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::corrupt_file) << e.what();
            EXPECT_THAT(e.what(), HasSubstr("tokenizer.json"));
        }
    }
}

TEST_F(TokenizerTest, UnsupportedTokenizersAreRefusedByName) {
    auto unsupported = [&](const json& patch) {
        json document = document_;
        document.merge_patch(patch);
        return refusal(ErrorKind::unsupported, document);
    };
    EXPECT_THAT(unsupported({{"model", {{"type", "Unigram"}}}}), HasSubstr("Unigram"));
    EXPECT_THAT(unsupported({{"model", {{"dropout", 0.1}}}}), HasSubstr("dropout"));
    EXPECT_THAT(unsupported({{"model", {{"end_of_word_suffix", "</w>"}}}}), HasSubstr("end_of_word_suffix"));
    EXPECT_THAT(unsupported({{"normalizer", {{"type", "NFKC"}}}}), HasSubstr("NFKC"));
    EXPECT_THAT(unsupported({{"pre_tokenizer", {{"type", "Metaspace"}}}}), HasSubstr("Metaspace"));
    EXPECT_THAT(unsupported({{"decoder", {{"type", "Metaspace"}}}}), HasSubstr("Metaspace"));
    EXPECT_THAT(unsupported({{"post_processor", {{"type", "BertProcessing"}}}}), HasSubstr("BertProcessing"));
    json steps = document_["pre_tokenizer"]["pretokenizers"];
    steps[0]["pattern"]["Regex"] = R"(\w+)";
    EXPECT_THAT(unsupported({{"pre_tokenizer", {{"pretokenizers", steps}}}}), HasSubstr(R"(\w+)"));
    steps = document_["pre_tokenizer"]["pretokenizers"];
    steps[1]["add_prefix_space"] = true;
    EXPECT_THAT(unsupported({{"pre_tokenizer", {{"pretokenizers", steps}}}}), HasSubstr("add_prefix_space"));
    steps = json::array({steps[0], steps[0], document_["decoder"]});
    EXPECT_THAT(unsupported({{"pre_tokenizer", {{"pretokenizers", steps}}}}),
                HasSubstr("Split, Split, ByteLevel"));
}

TEST_F(TokenizerTest, FilesThatContradictThemselvesAreRefused) {
    auto corrupt = [&](const json& patch) {
        json document = document_;
        document.merge_patch(patch);
        return refusal(ErrorKind::corrupt_file, document);
    };
    EXPECT_THAT(corrupt({{"model", {{"vocab", {{"Ġthe", nullptr}}}}}}),
                HasSubstr("Ġthe"));  // a merge needs it
    EXPECT_THAT(corrupt({{"model", {{"vocab", {{"Ġthe", 5}}}}}}), HasSubstr("id 5"));
    EXPECT_THAT(corrupt({{"model", {{"vocab", {{"Ġthe", -1}}}}}}), HasSubstr("Ġthe"));
    EXPECT_THAT(corrupt({{"model", {{"vocab", {{"Ġthe", 1e3}}}}}}), HasSubstr("Ġthe"));
    EXPECT_THAT(corrupt({{"model", {{"vocab", {{"Ġthe", 9000000000}}}}}}), HasSubstr("Ġthe"));
    EXPECT_THAT(corrupt({{"model", {{"vocab", {{"new", 3005}}}}}}), HasSubstr("contradicts the vocabulary"));
    EXPECT_THAT(corrupt({{"model", {{"vocab", {{"<think>", 2999999}}}}}}),
                HasSubstr("contradicts the vocabulary"));
    EXPECT_THAT(corrupt({{"model", {{"merges", {{"a", "b", "c"}}}}}}), HasSubstr("merge 0"));
    EXPECT_THAT(corrupt({{"model", {{"merges", {"a b c"}}}}}), HasSubstr("merge 0"));
    EXPECT_THAT(corrupt({{"model", {{"vocab", {{"!", nullptr}}}, {"merges", json::array()}}}}),
                HasSubstr("0x21"));
    json empty = document_;
    empty["model"]["vocab"] = json::object();
    empty["model"]["merges"] = json::array();
    EXPECT_THAT(refusal(ErrorKind::corrupt_file, empty), HasSubstr("is empty"));
    EXPECT_THAT(corrupt({{"added_tokens", 7}}), HasSubstr("added_tokens"));
    json twice = document_["added_tokens"];
    twice[1]["content"] = twice[0]["content"];
    EXPECT_THAT(corrupt({{"added_tokens", twice}}), HasSubstr("two ids"));
}

TEST_F(TokenizerTest, ConfigurationsThatContradictTheTokenizerAreRefused) {
    auto corrupt = [&](const json& patch) {
        json config = config_;
        config.merge_patch(patch);
        return refusal(ErrorKind::corrupt_file, document_, config);
    };
    EXPECT_EQ(corrupt(json::object()), "accepted");
    EXPECT_THAT(corrupt({{"added_tokens_decoder", {{"3002", {{"content", "<|other|>"}}}}}}),
                HasSubstr("3002"));
    EXPECT_THAT(corrupt({{"added_tokens_decoder", {{"4000", {{"content", "<|im_end|>"}}}}}}),
                HasSubstr("two ids"));
    EXPECT_THAT(corrupt({{"added_tokens_decoder", {{"17", {{"content", "<|other|>"}}}}}}),
                HasSubstr("contradicts"));
    EXPECT_THAT(corrupt({{"added_tokens_decoder", {{"x", {{"content", "y"}}}}}}), HasSubstr("\"x\""));
    EXPECT_THAT(corrupt({{"eos_token", "<|nothing|>"}}), HasSubstr("<|nothing|>"));
    EXPECT_THAT(corrupt({{"eos_token", 7}}), HasSubstr("eos_token"));
    EXPECT_THAT(corrupt({{"eos_token", 7}}), HasSubstr("tokenizer_config.json"));
    json config = config_;
    config["bos_token"] = {{"content", "<|im_start|>"}, {"special", true}};
    EXPECT_EQ(load_documents(document_, config).bos_token_id(), 3001);
}

}  // namespace
}  // namespace sheaf
