// The command line as data: which commands there are, which options each takes, and what one run was given.
// Values come from the command line, the environment (SHEAF_FLAG_NAME), a YAML file (--config) and the
// tables' defaults, in this order of precedence. Help texts and docs/cli.md are printed from the same tables.
// Used by main and the commands; the files app/options* are the only readers of argv and the environment.
// Must not know what a command does with its options.
//
// The parser is our own: vLLM's habits (underscores for dashes, --no-flag, dotted JSON members, 25.6k, flags
// that are known and do nothing) are what the work consists of, and CLI11 would only have split the words.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf {

/// A wrong command line (exit status 2); the message is one line and says what to do.
class UsageError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

enum class ValueKind {
    flag,     // --name, --no-name
    integer,  // within [min, max]
    size,     // tokens: 4096, 32k (1000s, also 25.6k), 32K (1024s), auto or -1 (read as -1)
    bytes,    // plain, or with K, M, G, T (1024s), also KiB, MB (1000s), ...
    number,   // within [min, max]
    text,
    texts,   // one or more words, and given several times adds up
    choice,  // one of `value`, separated by |
    json,    // a JSON object or list; members also as --name.member VALUE
};

/// What becomes of an option that is given.
enum class Standing {
    honoured,
    meaningless,  // known from vLLM, and there is nothing for it to do here: one log line with the reason
    refused,      // known, and going on without it would surprise: an error with the reason
};

struct OptionSpec {
    std::string_view name;  // without the leading --
    ValueKind kind = ValueKind::flag;
    std::string_view value{};     // what help calls the value; for a choice its words: "auto|cpu|cuda"
    std::string_view fallback{};  // the default as it would be typed; empty: none
    std::string_view help{};
    std::string_view aliases{};  // other spellings with their dashes, separated by blanks: "-tp --tp-size"
    double min = -std::numeric_limits<double>::infinity();
    double max = std::numeric_limits<double>::infinity();
    Standing standing = Standing::honoured;
    std::string_view reason{};       // for meaningless and refused; for a choice: why other words are refused
    std::string_view environment{};  // a second variable that is read after SHEAF_NAME
};

struct OptionGroup {
    std::string_view title;
    std::span<const OptionSpec> options;
};

struct CommandSpec {
    std::string_view name;
    std::string_view operands;  // "MODEL", "MODEL OTHER", ""
    int min_operands, max_operands;
    std::string_view summary;
    std::string_view details;
    std::vector<OptionGroup> groups;
};

/// All commands, in the order in which help lists them.
const std::vector<CommandSpec>& command_specs();

/// What one run was given, with defaults filled in. Asking for an option that the command does not have is a
/// programmer's mistake.
class Options {
  public:
    const std::string& command() const { return command_; }
    const std::vector<std::string>& operands() const { return operands_; }

    /// Whether the command knows the option at all.
    bool has(std::string_view name) const { return values_.find(name) != values_.end(); }
    /// Given by anything but the table's default.
    bool given(std::string_view name) const;

    bool flag(std::string_view name) const;
    int64_t integer(std::string_view name) const;  // also size and bytes; needs a value or a default
    double number(std::string_view name) const;
    std::string text(
        std::string_view name) const;  // also choice; "" where there is neither value nor default
    std::vector<std::string> texts(std::string_view name) const;
    nlohmann::ordered_json json(std::string_view name) const;  // null where there is neither
    std::optional<int64_t> maybe_integer(std::string_view name) const;
    std::optional<double> maybe_number(std::string_view name) const;

    /// MODEL: the first operand (which --model may have given).
    const std::string& model() const { return operands_.front(); }

    /// One line per given option that does nothing here, with the reason.
    const std::vector<std::string>& acknowledged() const { return acknowledged_; }

  private:
    friend class OptionParser;
    const std::vector<std::string>& raw(std::string_view name, ValueKind a, ValueKind b, ValueKind c) const;

    std::string command_;
    std::vector<std::string> operands_;
    struct Value {
        const OptionSpec* spec = nullptr;
        std::vector<std::string> words;  // as typed, checked; JSON already merged into one text
        bool given = false;
    };
    std::map<std::string, Value, std::less<>> values_;
    std::vector<std::string> acknowledged_;
};

/// Looks up an environment variable; null when it is not set.
using Environment = std::function<const char*(const char*)>;

/// `words`: the command line after the command's name. Errors: UsageError; Error when the file of --config
/// cannot be read.
Options parse_options(const CommandSpec& command, const std::vector<std::string>& words,
                      const Environment& environment);

/// The words after the program's name, and the process's environment.
std::vector<std::string> command_line(int argc, char** argv);
Environment process_environment();

/// A checkpoint folder (or a config.json, for --random-weights): `model` itself when it exists, else the
/// snapshot of owner/name in the Hugging Face cache (HF_HUB_CACHE, HF_HOME, the default place). `revision`: a
/// branch, tag or commit. Errors: not_found, saying where it looked.
std::filesystem::path resolve_model(const std::string& model, const std::string& revision,
                                    const Environment& environment);

/// The known word nearest to `word`, or "" when none is near.
std::string nearest_word(std::string_view word, std::span<const std::string_view> known);

const CommandSpec* find_command(std::string_view name);

std::string general_help();
std::string command_help(const CommandSpec& command);
/// docs/cli.md
std::string markdown_help();

}  // namespace sheaf
