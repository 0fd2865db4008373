#include "compress/score.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/commands.h"
#include "app/interrupt.h"
#include "app/loaded_model.h"
#include "app/output.h"
#include "app/progress.h"
#include "app/token_lines.h"
#include "weights/safetensors.h"

namespace sheaf {

namespace {

size_t longest(const std::vector<TokenLine>& lines) {
    size_t most = 0;
    for (const TokenLine& line : lines) most = std::max(most, line.token_ids.size());
    return most;
}

/// OUT.safetensors with ID.token_ids and ID.logits of every line; appears when all are written.
class LogitsFile {
  public:
    LogitsFile(const std::string& path, const std::vector<TokenLine>& lines, int64_t vocabulary,
               bool last_only)
        : vocabulary_(vocabulary),
          last_only_(last_only),
          writer_(path, declare(lines, vocabulary, last_only)) {}

    void tokens(const TokenLine& line) {
        writer_.write(line.id + ".token_ids", 0, line.token_ids.data(),
                      line.token_ids.size() * sizeof(int32_t));
    }
    void logits(const TokenLine& line, int64_t first, std::span<const float> values) {
        const int64_t row = last_only_ ? 0 : first;
        writer_.write(line.id + ".logits", static_cast<uint64_t>(row * vocabulary_) * sizeof(float),
                      values.data(), values.size_bytes());
    }
    void commit() { writer_.commit(); }

  private:
    static std::vector<SafetensorsWriter::Declaration> declare(const std::vector<TokenLine>& lines,
                                                               int64_t vocabulary, bool last_only) {
        std::vector<SafetensorsWriter::Declaration> tensors;
        for (const TokenLine& line : lines) {
            const auto tokens = static_cast<int64_t>(line.token_ids.size());
            tensors.push_back({line.id + ".token_ids", DType::i32, Shape{tokens}});
            tensors.push_back({line.id + ".logits", DType::f32, Shape{last_only ? 1 : tokens, vocabulary}});
        }
        return tensors;
    }

    int64_t vocabulary_;
    bool last_only_;
    SafetensorsWriter writer_;
};

void print_summary(const Likelihood& likelihood, size_t lines, const Options& options) {
    if (options.flag("json")) {
        output::write_line({{"lines", lines},
                            {"tokens", likelihood.tokens},
                            {"negative_log_likelihood", likelihood.negative_log_likelihood},
                            {"perplexity", likelihood.perplexity()}});
        return;
    }
    output::write(
        output::pairs({{"lines", output::count_text(static_cast<int64_t>(lines))},
                       {"tokens", output::count_text(likelihood.tokens)},
                       {"negative log likelihood", fmt::format("{:.6f}", likelihood.negative_log_likelihood)},
                       {"perplexity", fmt::format("{:.6f}", likelihood.perplexity())}}));
}

}  // namespace

int run_score(const Options& options) {
    const bool last_only = options.text("positions") == "last";
    if (last_only && !options.given("logits"))
        throw UsageError("--positions last is about --logits OUT.safetensors");
    const std::vector<TokenLine> lines = read_token_lines(options);
    LoadedModel loaded = load_wanted_model(options.model(), make_wanted_machine(options), options);
    Scorer scorer(loaded.model, *loaded.machine, static_cast<int64_t>(longest(lines)));
    std::optional<LogitsFile> file;
    if (options.given("logits")) file.emplace(options.text("logits"), lines, scorer.vocabulary(), last_only);
    Likelihood likelihood;
    for (const TokenLine& line : lines) {
        if (file) file->tokens(line);
        scorer.run(line.token_ids, last_only,
                   [&](int64_t first, int64_t rows, std::span<const float> logits) {
                       check_interrupted();
                       if (file) file->logits(line, first, logits);
                       for (int64_t i = 0; i < rows; ++i) {
                           const auto next = static_cast<size_t>(first + i + 1);
                           if (next < line.token_ids.size())
                               likelihood.add(logits.subspan(static_cast<size_t>(i * scorer.vocabulary()),
                                                             static_cast<size_t>(scorer.vocabulary())),
                                              line.token_ids[next]);
                       }
                   });
    }
    if (file) file->commit();
    if (last_only)
        output::write(options.flag("json") ? fmt::format("{{\"lines\": {}}}\n", lines.size())
                                           : fmt::format("lines  {}\n", lines.size()));
    else
        print_summary(likelihood, lines.size(), options);
    return exit_done;
}

}  // namespace sheaf
