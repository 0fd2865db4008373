#include "processor/tokenizer_file.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace sheaf {
namespace {

using nlohmann::json;

constexpr int64_t most_ids = 1 << 22;

/// byte -> character of the GPT-2 alphabet: printable Latin-1 stands for itself, the others follow from
/// U+0100 on.
struct ByteAlphabet {
    std::array<char32_t, 256> character{};
    std::array<int16_t, 0x200> byte{};

    ByteAlphabet() {
        byte.fill(-1);
        char32_t next = 0x100;
        for (int b = 0; b < 256; ++b) {
            bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            character[b] = printable ? static_cast<char32_t>(b) : next++;
            byte[character[b]] = static_cast<int16_t>(b);
        }
    }
};

const ByteAlphabet& byte_alphabet() {
    static const ByteAlphabet alphabet;
    return alphabet;
}

/// Enough of a text from a file to recognise it in a message.
std::string shortened(std::string_view text) {
    constexpr size_t most = 240;
    std::string result;
    unicode::append_lossy(result, text.substr(0, most));
    if (text.size() > most) result += "...";
    return result;
}

json read_json(const std::filesystem::path& path) {
    std::string text = read_text_file(path);
    try {
        return json::parse(text);
    } catch (const json::exception& e) {
        fail(ErrorKind::corrupt_file, "not valid JSON: {}", shortened(e.what()));
    }
}

/// The member, or a shared null when it is absent.
const json& member(const json& object, const char* key) {
    static const json null;
    if (!object.is_object()) return null;
    auto it = object.find(key);
    return it == object.end() ? null : *it;
}

bool flag(const json& object, const char* key, bool absent) {
    const json& value = member(object, key);
    if (value.is_null()) return absent;
    if (!value.is_boolean()) fail(ErrorKind::corrupt_file, "\"{}\" must be true or false", key);
    return value.get<bool>();
}

std::string type_of(const json& object) {
    const json& type = member(object, "type");
    return type.is_string() ? shortened(type.get<std::string>()) : std::string("without a type");
}

int32_t checked_id(const json& value, std::string_view token) {
    if (!value.is_number_integer())
        fail(ErrorKind::corrupt_file, "the id of \"{}\" is not an integer", shortened(token));
    auto id = value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{most_ids} ? most_ids
                                                                                       : value.get<int64_t>();
    if (id < 0 || id >= most_ids) {
        fail(ErrorKind::corrupt_file, "the id of \"{}\" is not between 0 and {}", shortened(token),
             most_ids - 1);
    }
    return static_cast<int32_t>(id);
}

/// The steps of a normalizer, pre-tokenizer, decoder or post-processor: itself, or the members of a Sequence.
std::vector<json> steps_of(const json& step, const char* list) {
    if (step.is_null()) return {};
    if (!step.is_object()) fail(ErrorKind::corrupt_file, "\"{}\" does not hold objects", list);
    if (type_of(step) != "Sequence") return {step};
    const json& members = member(step, list);
    if (!members.is_array()) fail(ErrorKind::corrupt_file, "a Sequence has no list \"{}\"", list);
    return members.get<std::vector<json>>();
}

void read_normalizer(const json& root, TokenizerFile& file) {
    for (const json& step : steps_of(member(root, "normalizer"), "normalizers")) {
        if (type_of(step) != "NFC") {
            fail(ErrorKind::unsupported, "the normalizer {} is not supported; NFC and none are",
                 type_of(step));
        }
        file.nfc = true;
    }
}

Pretokenizer read_split(const json& step) {
    const json& regex = member(member(step, "pattern"), "Regex");
    if (!regex.is_string()) {
        fail(ErrorKind::unsupported, "the pre-tokenizer splits by something other than a regular expression");
    }
    const json& behavior = member(step, "behavior");
    bool isolated = behavior == "Isolated" && !flag(step, "invert", false);
    bool matches_only =
        behavior == "Removed" && flag(step, "invert", false);  // the same: every character matches
    if (!isolated && !matches_only) {
        fail(ErrorKind::unsupported, "the pre-tokenizer's split behaviour {} is not supported; Isolated is",
             shortened(behavior.dump()));
    }
    auto pretokenizer = Pretokenizer::from_regex(regex.get_ref<const std::string&>());
    if (!pretokenizer) {
        fail(ErrorKind::unsupported,
             "the pre-tokenizer's regular expression is none of the known ones (Qwen3.5, Qwen2, cl100k, "
             "GPT-2): {}",
             shortened(regex.get_ref<const std::string&>()));
    }
    return *pretokenizer;
}

void read_pretokenizer(const json& root, TokenizerFile& file) {
    std::vector<json> steps = steps_of(member(root, "pre_tokenizer"), "pretokenizers");
    if (steps.empty() || type_of(steps.back()) != "ByteLevel") {
        fail(ErrorKind::unsupported, "the pre-tokenizer {} is not supported; one that ends in ByteLevel is",
             steps.empty() ? "none" : type_of(steps.back()));
    }
    if (flag(steps.back(), "add_prefix_space", true)) {
        fail(ErrorKind::unsupported, "the ByteLevel pre-tokenizer with add_prefix_space is not supported");
    }
    bool own_regex = flag(steps.back(), "use_regex", true);
    if (steps.size() == 1 && own_regex) {
        file.pretokenizer = Pretokenizer::gpt2();
    } else if (steps.size() == 2 && !own_regex && type_of(steps[0]) == "Split") {
        file.pretokenizer = read_split(steps[0]);
    } else {
        std::string names;
        for (const json& step : steps) names += (names.empty() ? "" : ", ") + type_of(step);
        fail(
            ErrorKind::unsupported,
            "the pre-tokenizer [{}] is not supported; [Split, ByteLevel] and [ByteLevel with its own regular "
            "expression] are",
            names);
    }
}

void check_decoder_and_post_processor(const json& root) {
    std::vector<json> decoders = steps_of(member(root, "decoder"), "decoders");
    if (decoders.size() != 1 || type_of(decoders[0]) != "ByteLevel") {
        fail(ErrorKind::unsupported, "the decoder {} is not supported; ByteLevel is",
             decoders.empty() ? "none" : type_of(decoders[0]));
    }
    for (const json& step : steps_of(member(root, "post_processor"), "processors")) {
        if (type_of(step) == "ByteLevel") continue;  // moves offsets only
        bool adds_nothing = type_of(step) == "TemplateProcessing" && member(step, "single").is_array();
        if (adds_nothing) {
            for (const json& part : member(step, "single")) adds_nothing &= part.contains("Sequence");
        }
        if (!adds_nothing) {
            fail(ErrorKind::unsupported,
                 "the post-processor {} adds tokens to every text, which is not supported", type_of(step));
        }
    }
}

void check_model(const json& model) {
    if (!model.is_object()) fail(ErrorKind::corrupt_file, "there is no \"model\"");
    const json& type = member(model, "type");  // very early files have none
    if (!type.is_null() && type != "BPE") {
        fail(ErrorKind::unsupported, "the tokenizer model {} is not supported; byte-level BPE is",
             type_of(model));
    }
    const json& dropout = member(model, "dropout");
    if (!dropout.is_null() && dropout != 0) fail(ErrorKind::unsupported, "BPE with dropout is not supported");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        const json& value = member(model, key);
        if (!value.is_null() && value != "")
            fail(ErrorKind::unsupported, "BPE with \"{}\" is not supported", key);
    }
    if (!member(model, "vocab").is_object())
        fail(ErrorKind::corrupt_file, "the model has no \"vocab\" object");
    if (!member(model, "merges").is_array())
        fail(ErrorKind::corrupt_file, "the model has no \"merges\" list");
}

/// The vocabulary by spelling. The strings stay in the JSON document, which must outlive this.
class Spellings {
  public:
    explicit Spellings(size_t expected) : index_(expected) {}

    void add(std::string_view spelling, int32_t id) {
        index_.insert(spelling, static_cast<int32_t>(ids_.size()),
                      [this](int32_t at) { return spellings_[at]; });
        spellings_.push_back(spelling);
        ids_.push_back(id);
    }

    std::optional<int32_t> find(std::string_view spelling) const {
        int32_t found = index_.find(spelling, [this](int32_t at) { return spellings_[at]; });
        if (found == TokenIndex::none) return std::nullopt;
        return ids_[found];
    }

    const std::vector<int32_t>& ids() const { return ids_; }

  private:
    TokenIndex index_;
    std::vector<std::string_view> spellings_;
    std::vector<int32_t> ids_;
};

Spellings read_vocabulary(const json& model, TokenizerFile& file) {
    const auto& vocabulary = member(model, "vocab").get_ref<const json::object_t&>();
    if (vocabulary.empty()) fail(ErrorKind::corrupt_file, "the model's \"vocab\" is empty");
    Spellings spellings(vocabulary.size());
    file.tokens.reserve(vocabulary.size());
    for (const auto& [spelling, value] : vocabulary) {
        int32_t id = checked_id(value, spelling);
        spellings.add(spelling, id);
        std::optional<std::string> bytes = bytes_of_spelling(spelling);
        bool literal = !bytes.has_value();
        file.tokens.push_back({std::move(bytes).value_or(spelling), id, literal});
    }
    return spellings;
}

/// The two spellings of a merge, written as "a b" or as ["a", "b"].
std::pair<std::string_view, std::string_view> merge_parts(const json& merge, size_t rank) {
    if (merge.is_string()) {
        std::string_view text = merge.get_ref<const std::string&>();
        size_t space = text.find(' ');
        if (space != text.npos && text.find(' ', space + 1) == text.npos) {
            return {text.substr(0, space), text.substr(space + 1)};
        }
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
    }
    fail(ErrorKind::corrupt_file, "merge {} is neither \"a b\" nor [\"a\", \"b\"]: {}", rank,
         shortened(merge.dump()));
}

void read_merges(const json& model, const Spellings& vocabulary, TokenizerFile& file) {
    const json& merges = member(model, "merges");
    file.merges.reserve(merges.size());
    auto id_of = [&](std::string_view spelling, size_t rank) {
        std::optional<int32_t> id = vocabulary.find(spelling);
        if (!id) {
            fail(ErrorKind::corrupt_file, "merge {} needs the token \"{}\", which the vocabulary lacks", rank,
                 spelling);
        }
        return *id;
    };
    std::string joined;
    for (size_t rank = 0; rank < merges.size(); ++rank) {
        const json& merge = merges[rank];
        if (merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version")) continue;
        auto [left, right] = merge_parts(merge, rank);
        joined.assign(left).append(right);
        file.merges.push_back({id_of(left, rank), id_of(right, rank), id_of(joined, rank)});
    }
}

AddedToken read_added_token(const json& value, int32_t id) {
    const json& content = member(value, "content");
    if (!content.is_string()) fail(ErrorKind::corrupt_file, "the added token {} has no content", id);
    AddedToken token;
    token.id = id;
    token.content = content.get<std::string>();
    token.single_word = flag(value, "single_word", false);
    token.lstrip = flag(value, "lstrip", false);
    token.rstrip = flag(value, "rstrip", false);
    token.special = flag(value, "special", false);
    token.normalized = flag(value, "normalized", !token.special);
    return token;
}

/// Added tokens of both files, each id and each content once.
class AddedTokens {
  public:
    explicit AddedTokens(Spellings vocabulary)
        : vocabulary_(std::move(vocabulary)), taken_(vocabulary_.ids().begin(), vocabulary_.ids().end()) {}

    void add(AddedToken token) {
        if (token.content.empty()) return;
        auto [it, is_first] = by_id_.try_emplace(token.id, token);
        if (!is_first) {
            if (it->second.content != token.content) {
                fail(ErrorKind::corrupt_file, "the id {} is given to two added tokens, \"{}\" and \"{}\"",
                     token.id, it->second.content, token.content);
            }
            if (it->second != token) {
                log::warn(
                    "the flags of the added token \"{}\" differ between tokenizer.json and "
                    "tokenizer_config.json; those of tokenizer.json are used",
                    token.content);
            }
            return;
        }
        auto [known, is_new] = by_content_.try_emplace(token.content, token.id);
        if (!is_new) {
            fail(ErrorKind::corrupt_file, "the added token \"{}\" has two ids, {} and {}", token.content,
                 known->second, token.id);
        }
        std::optional<int32_t> spelled = vocabulary_.find(token.content);
        if (spelled ? *spelled != token.id : taken_.contains(token.id)) {
            fail(ErrorKind::corrupt_file, "the added token \"{}\" with id {} contradicts the vocabulary",
                 token.content, token.id);
        }
    }

    std::optional<int32_t> find(const std::string& content) const {
        if (auto it = by_content_.find(content); it != by_content_.end()) return it->second;
        return vocabulary_.find(content);
    }

    std::vector<AddedToken> by_id() const {
        std::vector<AddedToken> tokens;
        tokens.reserve(by_id_.size());
        for (const auto& [id, token] : by_id_) tokens.push_back(token);
        return tokens;
    }

  private:
    Spellings vocabulary_;
    std::unordered_set<int32_t> taken_;
    std::map<int32_t, AddedToken> by_id_;
    std::unordered_map<std::string, int32_t> by_content_;
};

void read_config(const json& config, AddedTokens& added) {
    if (!config.is_object()) fail(ErrorKind::corrupt_file, "it is not a JSON object");
    const json& decoder = member(config, "added_tokens_decoder");
    if (decoder.is_null()) return;
    if (!decoder.is_object()) fail(ErrorKind::corrupt_file, "\"added_tokens_decoder\" is not an object");
    for (const auto& [key, value] : decoder.items()) {
        bool is_number = !key.empty() && key.size() <= 9 &&
                         std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
        if (!is_number) fail(ErrorKind::corrupt_file, "\"added_tokens_decoder\" has the id \"{}\"", key);
        added.add(read_added_token(value, checked_id(json(std::stoll(key)), key)));
    }
}

std::optional<int32_t> read_named_token(const json& config, const char* key, const AddedTokens& added) {
    const json& value = member(config, key);
    const json& content = value.is_object() ? member(value, "content") : value;
    if (content.is_null()) return std::nullopt;
    if (!content.is_string()) fail(ErrorKind::corrupt_file, "\"{}\" is neither a token nor null", key);
    std::optional<int32_t> id = added.find(content.get<std::string>());
    if (!id) {
        fail(ErrorKind::corrupt_file, "\"{}\" is \"{}\", which the vocabulary lacks", key,
             content.get<std::string>());
    }
    return id;
}

template <class Read>
void in_file(const std::filesystem::path& path, const Read& read) {
    try {
        read();
    } catch (Error& e) {
        e.at(path.string());
        throw;
    }
}

}  // namespace

std::optional<std::string> bytes_of_spelling(std::string_view spelling) {
    const ByteAlphabet& alphabet = byte_alphabet();
    std::string bytes;
    for (size_t at = 0; at < spelling.size();) {
        unicode::Decoded d = unicode::decode(spelling, at);
        at += d.size;
        if (d.code_point >= alphabet.byte.size() || alphabet.byte[d.code_point] < 0) return std::nullopt;
        bytes += static_cast<char>(alphabet.byte[d.code_point]);
    }
    return bytes;
}

std::string spelling_of_bytes(std::string_view bytes) {
    std::string spelling;
    for (char c : bytes) unicode::append(spelling, byte_alphabet().character[static_cast<unsigned char>(c)]);
    return spelling;
}

TokenizerFile read_tokenizer_file(const std::filesystem::path& folder) {
    std::filesystem::path path = folder / "tokenizer.json", config_path = folder / "tokenizer_config.json";
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
        fail(ErrorKind::not_found,
             "{} does not exist; a checkpoint folder needs it (a slow tokenizer's vocab.json and merges.txt "
             "are turned "
             "into it by saving the tokenizer with Transformers)",
             path.string());
    }
    TokenizerFile file;
    json root;
    std::optional<AddedTokens> added;
    in_file(path, [&] {
        root = read_json(path);
        if (!root.is_object()) fail(ErrorKind::corrupt_file, "it is not a JSON object");
        const json& model = member(root, "model");
        check_model(model);
        read_normalizer(root, file);
        read_pretokenizer(root, file);
        check_decoder_and_post_processor(root);
        Spellings vocabulary = read_vocabulary(model, file);
        read_merges(model, vocabulary, file);
        file.ignore_merges = flag(model, "ignore_merges", false);
        added.emplace(std::move(vocabulary));
        const json& list = member(root, "added_tokens");
        if (!list.is_null() && !list.is_array())
            fail(ErrorKind::corrupt_file, "\"added_tokens\" is not a list");
        for (const json& token : list)
            added->add(read_added_token(token, checked_id(member(token, "id"), "added token")));
    });
    if (std::filesystem::exists(config_path, ignored)) {
        in_file(config_path, [&] {
            json config = read_json(config_path);
            read_config(config, *added);
            file.eos = read_named_token(config, "eos_token", *added);
            file.bos = read_named_token(config, "bos_token", *added);
            file.pad = read_named_token(config, "pad_token", *added);
        });
    }
    file.added = added.value().by_id();
    return file;
}

}  // namespace sheaf
