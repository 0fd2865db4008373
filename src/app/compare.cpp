#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/interrupt.h"
#include "app/loaded_model.h"
#include "app/output.h"
#include "app/token_lines.h"
#include "compress/score.h"
#include "weights/safetensors.h"

namespace sheaf {

namespace {

/// One side of the comparison: all logits of a line, (tokens or 1, vocabulary).
class Side {
  public:
    virtual ~Side() = default;
    virtual int64_t vocabulary() const = 0;
    virtual std::vector<float> logits(const TokenLine& line) = 0;
};

class ModelSide : public Side {
  public:
    ModelSide(const std::string& name, const Options& options, size_t longest)
        : loaded_(load_wanted_model(name, make_wanted_machine(options), options)),
          scorer_(loaded_.model, *loaded_.machine, static_cast<int64_t>(longest)) {}

    int64_t vocabulary() const override { return scorer_.vocabulary(); }
    std::vector<float> logits(const TokenLine& line) override {
        std::vector<float> all;
        all.reserve(line.token_ids.size() * static_cast<size_t>(vocabulary()));
        scorer_.run(line.token_ids, false, [&](int64_t, int64_t, std::span<const float> rows) {
            check_interrupted();
            all.insert(all.end(), rows.begin(), rows.end());
        });
        return all;
    }

  private:
    LoadedModel loaded_;
    Scorer scorer_;
};

/// What `sheaf score --logits` wrote.
class FileSide : public Side {
  public:
    explicit FileSide(const std::string& path) : file_(SafetensorsFile::open(path)) {
        for (const SafetensorsEntry& entry : file_->entries()) entries_[entry.name] = &entry;
        for (const auto& [name, entry] : entries_) {
            if (!name.ends_with(".logits")) continue;
            if (entry->dtype != DType::f32 || entry->shape.rank() != 2)
                fail(ErrorKind::invalid_input, "{}: {} is not (tokens, vocabulary) of F32", path, name);
            vocabulary_ = entry->shape[1];
        }
        if (vocabulary_ == 0)
            fail(ErrorKind::invalid_input, "{}: has no ID.logits; sheaf score --logits writes such files",
                 path);
    }

    /// The lines that the file was made of.
    std::vector<TokenLine> lines() const {
        std::vector<TokenLine> lines;
        for (const auto& [name, entry] : entries_)
            if (name.ends_with(".token_ids"))
                lines.push_back({name.substr(0, name.size() - 10), tokens(name)});
        return lines;
    }

    int64_t vocabulary() const override { return vocabulary_; }
    std::vector<float> logits(const TokenLine& line) override {
        if (tokens(line.id + ".token_ids") != line.token_ids)
            fail(ErrorKind::invalid_input, "line {}: {} holds the logits of other tokens", line.id,
                 file_->path().string());
        const HostTensor held = file_->tensor(entry(line.id + ".logits"));
        const Tensor& values = held.view;
        if (values.size(1) != vocabulary_)
            fail(ErrorKind::invalid_input, "{}: vocabularies of several sizes", file_->path().string());
        return {values.data<float>(), values.data<float>() + values.elements()};
    }

  private:
    const SafetensorsEntry& entry(const std::string& name) const {
        const auto found = entries_.find(name);
        if (found == entries_.end()) fail(ErrorKind::not_found, "{} has no {}", file_->path().string(), name);
        return *found->second;
    }
    std::vector<int32_t> tokens(const std::string& name) const {
        const HostTensor held = file_->tensor(entry(name));
        const Tensor& ids = held.view;
        return {ids.data<int32_t>(), ids.data<int32_t>() + ids.elements()};
    }

    std::shared_ptr<const SafetensorsFile> file_;
    std::map<std::string, const SafetensorsEntry*> entries_;
    int64_t vocabulary_ = 0;
};

struct Comparison {
    Divergence divergence;
    Likelihood first, second;
};

void compare_line(const TokenLine& line, Side& a, Side& b, Comparison& result) {
    const std::vector<float> left = a.logits(line), right = b.logits(line);
    const auto vocabulary = static_cast<size_t>(a.vocabulary());
    const size_t tokens = line.token_ids.size(), left_rows = left.size() / vocabulary,
                 right_rows = right.size() / vocabulary;
    // A file of last positions only has one row: the others have nothing to be compared with.
    for (size_t position = tokens - std::min(left_rows, right_rows); position < tokens; ++position) {
        const std::span row_a =
            std::span(left).subspan((position - (tokens - left_rows)) * vocabulary, vocabulary);
        const std::span row_b =
            std::span(right).subspan((position - (tokens - right_rows)) * vocabulary, vocabulary);
        result.divergence.add(row_a, row_b);
        if (position + 1 == tokens) continue;
        result.first.add(row_a, line.token_ids[position + 1]);
        result.second.add(row_b, line.token_ids[position + 1]);
    }
}

void print(const Comparison& result, const Options& options) {
    const Divergence& kl = result.divergence;
    const nlohmann::ordered_json json = {
        {"kl", {{"mean", kl.mean()}, {"p99", kl.percentile(0.99)}, {"max", kl.maximum()}}},
        {"top1_agreement", kl.top1_agreement()},
        {"perplexity", {result.first.perplexity(), result.second.perplexity()}},
        {"tokens", kl.kl.size()}};
    if (options.flag("json")) return output::write_line(json);
    output::write(output::pairs({{"tokens", output::count_text(static_cast<int64_t>(kl.kl.size()))},
                                 {"KL mean", fmt::format("{:.6g}", kl.mean())},
                                 {"KL p99", fmt::format("{:.6g}", kl.percentile(0.99))},
                                 {"KL max", fmt::format("{:.6g}", kl.maximum())},
                                 {"same top token", fmt::format("{:.3f} %", 100 * kl.top1_agreement())},
                                 {"perplexity", fmt::format("{:.6g} and {:.6g}", result.first.perplexity(),
                                                            result.second.perplexity())}}));
}

}  // namespace

int run_compare(const Options& options) {
    const std::string& other = options.operands()[1];
    std::unique_ptr<FileSide> file;
    if (std::filesystem::is_regular_file(other)) file = std::make_unique<FileSide>(other);
    const bool own_lines = file && !options.given("input") && !options.given("prompt");
    const std::vector<TokenLine> lines = own_lines ? file->lines() : read_token_lines(options);
    size_t longest = 0;
    for (const TokenLine& line : lines) longest = std::max(longest, line.token_ids.size());
    ModelSide model(options.model(), options, longest);
    std::unique_ptr<Side> second = std::move(file);
    if (!second) second = std::make_unique<ModelSide>(other, options, longest);
    if (model.vocabulary() != second->vocabulary())
        fail(ErrorKind::invalid_input, "vocabularies of {} and {} tokens cannot be compared",
             model.vocabulary(), second->vocabulary());
    Comparison result;
    for (const TokenLine& line : lines) compare_line(line, model, *second, result);
    print(result, options);
    const auto most = options.maybe_number("max-kl");
    return most && !(result.divergence.mean() <= *most) ? exit_findings : exit_done;
}

}  // namespace sheaf
