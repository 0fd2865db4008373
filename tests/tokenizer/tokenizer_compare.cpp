// Compares a tokenizer folder with what Hugging Face `tokenizers` made of the same texts
// (tests/golden/tokenizer).
//
// Usage: tokenizer_compare FOLDER NAME GOLDEN_FOLDER
// NAME says which ids of the cases are meant: small or real. Prints every difference; fails when there is
// one, and when fewer cases were compared than the files are known to hold.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "base/error.h"
#include "processor/detokenizer.h"
#include "processor/tokenizer.h"
#include "processor/unicode.h"

namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

constexpr size_t least_cases = 3000, least_decodings = 300;

class Comparison {
  public:
    Comparison(const std::string& folder, std::string name)
        : tokenizer_(sheaf::Tokenizer::load(folder)), name_(std::move(name)) {}

    size_t differences() const { return differences_; }

    size_t encodings(const std::filesystem::path& path) {
        size_t count = 0;
        each_line(path, [&](const json& line) {
            ++count;
            auto text = line["text"].get<std::string>();
            Ids ids = line[name_].get<Ids>();
            Ids plain = line.value(name_ + "_plain", ids);
            expect(tokenizer_.encode(text) == ids, "encode", text);
            expect(tokenizer_.encode(text, false) == plain, "encode without added tokens", text);
            expect(tokenizer_.decode(plain) == sheaf::unicode::nfc(text), "decode(encode(text)) == NFC(text)",
                   text);
            limits(text, ids);
            increments(ids, text);
        });
        return count;
    }

    size_t decodings(const std::filesystem::path& path) {
        size_t count = 0;
        each_line(path, [&](const json& line) {
            if (line["vocabulary"] != name_) return;
            ++count;
            Ids ids = line["ids"].get<Ids>();
            auto skip = line["skip"].get<bool>();
            auto text = line["text"].get<std::string>();
            expect(tokenizer_.decode(ids, skip) == text, "decode", text);
            sheaf::Detokenizer stream(tokenizer_, skip);
            std::string streamed;
            for (int32_t id : ids) streamed += whole_characters(stream.push(id), text);
            streamed += stream.finish();
            expect(streamed == text, "incremental decode", text);
        });
        return count;
    }

  private:
    template <class OnLine>
    static void each_line(const std::filesystem::path& path, const OnLine& on_line) {
        std::ifstream file(path);
        if (!file) sheaf::fail(sheaf::ErrorKind::not_found, "{} cannot be read", path.string());
        for (std::string line; std::getline(file, line);) on_line(json::parse(line));
    }

    void expect(bool equal, std::string_view what, const std::string& text) {
        if (equal) return;
        if (++differences_ <= 40) fmt::print("{}: {} differs for {}\n", name_, what, json(text).dump());
    }

    std::string whole_characters(std::string part, const std::string& text) {
        expect(!sheaf::unicode::find_invalid(part), "every streamed part is whole characters", text);
        return part;
    }

    void limits(const std::string& text, const Ids& ids) {
        for (size_t limit : {size_t{0}, ids.size() / 2, ids.size(), ids.size() + 1}) {
            Ids first(ids.begin(), ids.begin() + std::min(ids.size(), limit + 1));
            expect(tokenizer_.encode(text, true, limit) == first, "encode with a limit", text);
        }
    }

    /// Streams the ids after random other ones, so that characters are begun and broken everywhere.
    void increments(const Ids& ids, const std::string& text) {
        Ids noisy;
        for (int32_t id : ids) {
            noisy.push_back(id);
            if (random_() % 8 == 0)
                noisy.push_back(static_cast<int32_t>(random_() % tokenizer_.vocabulary_size()));
        }
        for (const Ids& sequence : {ids, noisy}) {
            sheaf::Detokenizer stream(tokenizer_);
            std::string streamed;
            for (int32_t id : sequence) streamed += whole_characters(stream.push(id), text);
            streamed += stream.finish();
            expect(streamed == tokenizer_.decode(sequence), "incremental decode of the encoded text", text);
        }
    }

    sheaf::Tokenizer tokenizer_;
    std::string name_;
    size_t differences_ = 0;
    std::mt19937 random_{1};
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        fmt::print("usage: tokenizer_compare FOLDER NAME GOLDEN_FOLDER\n");
        return 2;
    }
    try {
        Comparison comparison(argv[1], argv[2]);
        std::filesystem::path golden = argv[3];
        size_t cases = comparison.encodings(golden / "cases.jsonl");
        size_t decodings = comparison.decodings(golden / "decode.jsonl");
        fmt::print("{}: {} texts, {} id sequences, {} differences\n", argv[2], cases, decodings,
                   comparison.differences());
        return comparison.differences() == 0 && cases >= least_cases && decodings >= least_decodings ? 0 : 1;
    } catch (const std::exception& e) {
        fmt::print("{}\n", e.what());
        return 1;
    }
}
