#include "app/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/options_values.h"
#include "base/error.h"

namespace sheaf {

using namespace option_values;

namespace {

std::string spelled(std::string_view name) {
    std::string result(name);
    std::replace(result.begin(), result.end(), '_', '-');
    return result;
}

std::string variable(std::string_view name) {
    std::string result = "SHEAF_";
    for (const char c : name)
        result += c == '-' ? '_' : (c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
    return result;
}

}  // namespace

/// One parse: gathers what each layer says (highest first), then checks and fills in defaults.
class OptionParser {
  public:
    OptionParser(const CommandSpec& command, const Environment& environment)
        : command_(command), environment_(environment) {
        for (const OptionGroup& group : command.groups)
            for (const OptionSpec& spec : group.options) specs_.push_back(&spec);
    }

    Options parse(const std::vector<std::string>& words) {
        read_words(words);
        for (const OptionSpec* spec : specs_) read_variable(*spec);
        if (given_.count("config")) read_file(given_["config"].words.back());
        result_.command_ = command_.name;
        for (const OptionSpec* spec : specs_) settle(*spec);
        check_operands();
        return std::move(result_);
    }

  private:
    /// What the highest layer that names an option says of it. `members`: dotted path and word.
    struct Given {
        std::string origin;  // "--port", "SHEAF_PORT", "serve.yaml: port"
        int layer = 0;
        std::vector<std::string> words;
        std::vector<std::pair<std::string, std::string>> members;
    };

    [[noreturn]] void usage(const std::string& message) const {
        throw UsageError(fmt::format("{}; see sheaf {} --help", message, command_.name));
    }

    const OptionSpec* find(std::string_view name) const {
        for (const OptionSpec* spec : specs_)
            if (spec->name == name) return spec;
        for (const OptionSpec* spec : specs_)
            for (const std::string_view alias : split(spec->aliases, ' '))
                if (!alias.empty() && alias.substr(alias.find_first_not_of('-')) == name) return spec;
        return nullptr;
    }

    [[noreturn]] void unknown(const std::string& shown, std::string_view name) const {
        std::vector<std::string_view> names;
        for (const OptionSpec* spec : specs_) names.push_back(spec->name);
        const std::string near = nearest_word(name, names);
        usage(near.empty() ? fmt::format("unknown option {}", shown)
                           : fmt::format("unknown option {} (did you mean --{}?)", shown, near));
    }

    Given& place(const OptionSpec& spec, int layer, const std::string& origin) {
        Given& given = given_[spec.name];
        if (given.layer == 0) given.layer = layer, given.origin = origin;
        return given;
    }

    // --- the command line

    void read_words(const std::vector<std::string>& words) {
        bool only_operands = false;
        for (size_t i = 0; i < words.size(); ++i) {
            const std::string& word = words[i];
            if (only_operands || word.size() < 2 || word[0] != '-' || read_number(word)) {
                result_.operands_.push_back(word);
            } else if (word == "--") {
                only_operands = true;
            } else {
                read_option(words, i);
            }
        }
    }

    void read_option(const std::vector<std::string>& words, size_t& i) {
        const std::string& word = words[i];
        const size_t equals = word.find('=');
        std::string name =
            word.substr(word.find_first_not_of('-') == std::string::npos ? 1 : word.find_first_not_of('-'));
        name = name.substr(0, name.find('='));
        std::string path;
        if (const size_t dot = name.find('.'); dot != std::string::npos) {
            path = name.substr(dot + 1);
            name.resize(dot);
        }
        name = spelled(name);
        const OptionSpec* spec = find(name);
        bool negated = false;
        if (!spec && name.rfind("no-", 0) == 0) {
            spec = find(name.substr(3));
            negated = true;
            if (spec && spec->kind != ValueKind::flag) spec = nullptr;
        }
        const std::string shown = word.substr(0, equals);
        if (!spec) unknown(shown, name);
        if (!path.empty() && spec->kind != ValueKind::json)
            usage(fmt::format("{}: --{} has no members", shown, name));
        Given& given = place(*spec, 3, shown);
        if (spec->kind == ValueKind::flag) {
            if (negated && equals != std::string::npos) usage(fmt::format("{} takes no value", shown));
            given.words = {negated                       ? "false"
                           : equals == std::string::npos ? "true"
                                                         : word.substr(equals + 1)};
            return;
        }
        std::vector<std::string> values = take_values(words, i, *spec, shown, equals);
        if (!path.empty())
            given.members.emplace_back(path, values.front());
        else if (spec->kind == ValueKind::texts)
            given.words.insert(given.words.end(), values.begin(), values.end());
        else
            given.words = std::move(values);
    }

    /// The value after = or in the next word; for texts all following words up to the next option.
    std::vector<std::string> take_values(const std::vector<std::string>& words, size_t& i,
                                         const OptionSpec& spec, const std::string& shown,
                                         size_t equals) const {
        if (equals != std::string::npos) return {words[i].substr(equals + 1)};
        std::vector<std::string> values;
        while (i + 1 < words.size() && (values.empty() || spec.kind == ValueKind::texts)) {
            const std::string& next = words[i + 1];
            const bool option =
                next.size() > 1 && next[0] == '-' && !read_number(next) &&
                (next[1] == '-' || find(spelled(next.substr(1, next.find_first_of("=.") - 1))));
            if (option) break;
            values.push_back(next);
            ++i;
        }
        if (values.empty()) usage(fmt::format("{} needs a value ({})", shown, spec.value));
        return values;
    }

    // --- the environment

    void read_variable(const OptionSpec& spec) {
        std::string name = variable(spec.name);
        const char* value = environment_(name.c_str());
        if (!value && !spec.environment.empty()) {
            name = spec.environment;
            value = environment_(name.c_str());
        }
        if (!value) return;
        Given& given = place(spec, 2, name);
        if (given.layer != 2) return;
        given.words.clear();
        if (spec.kind == ValueKind::texts) {
            for (const std::string_view word : split(value, ' '))
                if (!word.empty()) given.words.emplace_back(word);
        } else {
            given.words.emplace_back(value);
        }
    }

    // --- the file

    void read_file(const std::string& path) {
        YAML::Node root;
        try {
            root = YAML::LoadFile(path);
        } catch (const YAML::BadFile&) {
            fail(ErrorKind::not_found, "--config {}: cannot be read", path);
        } catch (const YAML::Exception& e) {
            fail(ErrorKind::invalid_input, "--config {}: line {}: {}", path, e.mark.line + 1, e.msg);
        }
        if (root.IsNull()) return;
        if (!root.IsMap()) fail(ErrorKind::invalid_input, "--config {}: is not a map of option: value", path);
        for (const auto& entry : root) {
            if (!entry.first.IsScalar())
                fail(ErrorKind::invalid_input, "--config {}: line {}: an option's name is due", path,
                     entry.first.Mark().line + 1);
            const std::string key = entry.first.Scalar();
            const std::string origin = fmt::format("{}:{}: {}", path, entry.first.Mark().line + 1, key);
            const OptionSpec* spec = find(spelled(key));
            if (!spec)
                unknown(fmt::format("{} ({} line {})", key, path, entry.first.Mark().line + 1), spelled(key));
            if (spec->name == "config") usage(fmt::format("{}: a file cannot name another one", origin));
            Given& given = place(*spec, 1, origin);
            if (given.layer == 1) given.words = file_words(*spec, entry.second, origin);
        }
    }

    std::vector<std::string> file_words(const OptionSpec& spec, const YAML::Node& node,
                                        const std::string& origin) const {
        if (spec.kind == ValueKind::json && !node.IsScalar()) return {yaml_to_json(node, 0).dump()};
        if (node.IsNull()) return {};
        if (node.IsScalar()) return {node.Scalar()};
        if (!node.IsSequence() || spec.kind != ValueKind::texts)
            usage(fmt::format("{}: one value is due", origin));
        std::vector<std::string> words;
        for (const auto& item : node) {
            if (!item.IsScalar()) usage(fmt::format("{}: a list of words is due", origin));
            words.push_back(item.Scalar());
        }
        return words;
    }

    static nlohmann::ordered_json yaml_to_json(const YAML::Node& node, int depth) {
        if (depth > 16) fail(ErrorKind::invalid_input, "--config: values nested deeper than 16");
        if (node.IsMap()) {
            auto object = nlohmann::ordered_json::object();
            for (const auto& entry : node)
                object[entry.first.Scalar()] = yaml_to_json(entry.second, depth + 1);
            return object;
        }
        if (node.IsSequence()) {
            auto list = nlohmann::ordered_json::array();
            for (const auto& item : node) list.push_back(yaml_to_json(item, depth + 1));
            return list;
        }
        if (node.IsNull()) return nullptr;
        if (node.Tag() == "!") return node.Scalar();  // quoted
        auto value = nlohmann::ordered_json::parse(node.Scalar(), nullptr, false);
        return value.is_discarded() || value.is_structured() ? nlohmann::ordered_json(node.Scalar()) : value;
    }

    // --- the result

    void settle(const OptionSpec& spec) {
        Options::Value value;
        value.spec = &spec;
        const auto found = given_.find(spec.name);
        value.given =
            found != given_.end() && (!found->second.words.empty() || !found->second.members.empty());
        if (value.given) {
            value.words = found->second.words;
            merge_members(value, found->second);
            check(spec, value.words, found->second.origin);
            judge(spec, value.words, found->second.origin);
        } else if (!spec.fallback.empty()) {
            value.words = {std::string(spec.fallback)};
            check(spec, value.words, "default");
        }
        result_.values_.emplace(spec.name, std::move(value));
    }

    void merge_members(Options::Value& value, const Given& given) const {
        if (given.members.empty()) return;
        auto object = value.words.empty() ? nlohmann::ordered_json::object()
                                          : read_json(value.words.back()).value_or(nullptr);
        for (const auto& [path, word] : given.members)
            if (!set_member(object, path, word))
                usage(fmt::format("{}: '{}' is no member", given.origin, path));
        value.words = {object.dump()};
    }

    void check(const OptionSpec& spec, std::vector<std::string>& words, const std::string& origin) const {
        for (std::string& word : words) {
            const std::string trouble = complaint(spec, word);
            if (!trouble.empty()) usage(fmt::format("{} {}: {}", origin, word, trouble));
        }
    }

    /// Why `word` cannot be the option's value, or "". Also brings it to the form that the getters read.
    static std::string complaint(const OptionSpec& spec, std::string& word) {
        std::optional<double> number;
        switch (spec.kind) {
            case ValueKind::flag: {
                const auto on = read_flag(word);
                if (!on) return "true or false is due";
                word = *on ? "true" : "false";
                return "";
            }
            case ValueKind::integer:
                number = read_integer(word);
                break;
            case ValueKind::number:
                number = read_number(word);
                break;
            case ValueKind::size:
                number = read_size(word);
                break;
            case ValueKind::bytes:
                number = read_bytes(word);
                break;
            case ValueKind::choice: {
                const auto words = split(spec.value, '|');
                for (const std::string_view choice : words) {
                    if (word == choice) return "";
                    if (choice.size() > 2 && choice.substr(choice.size() - 2) == ":N" &&
                        word.rfind(choice.substr(0, choice.size() - 1), 0) == 0 &&
                        read_integer(word.substr(choice.size() - 1)).value_or(-1) >= 0)
                        return "";
                }
                return fmt::format("{} is due{}{}", fmt::join(words, ", "), spec.reason.empty() ? "" : "; ",
                                   spec.reason);
            }
            case ValueKind::json:
                return read_json(word) ? "" : "a JSON object or list is due";
            case ValueKind::text:
            case ValueKind::texts:
                return "";
        }
        if (!number) {
            static constexpr std::string_view due[] = {"", "a whole number",
                                                       "a number of tokens, such as 4096, 32k or auto,",
                                                       "a number of bytes, such as 8GiB,", "a number"};
            return fmt::format("{} is due", due[static_cast<int>(spec.kind)]);
        }
        if (*number < spec.min) return fmt::format("the least is {}", spec.min);
        if (*number > spec.max) return fmt::format("the most is {}", spec.max);
        return "";
    }

    void judge(const OptionSpec& spec, const std::vector<std::string>& words, const std::string& origin) {
        if (spec.standing == Standing::honoured) return;
        const bool declined = spec.kind == ValueKind::flag && words.back() == "false";
        if (spec.standing == Standing::refused && !declined && words.back() != spec.fallback)
            usage(fmt::format("{}: {}", origin, spec.reason));
        if (spec.standing == Standing::meaningless && !declined)
            result_.acknowledged_.push_back(fmt::format("{} does nothing: {}", origin, spec.reason));
    }

    /// --model stands for the first operand where that is missing.
    void check_operands() {
        auto& operands = result_.operands_;
        const size_t least = command_.min_operands, most = command_.max_operands;
        if (const auto model = given_.find("model"); model != given_.end() && !model->second.words.empty()) {
            const std::string& name = model->second.words.back();
            if (operands.size() < least)
                operands.insert(operands.begin(), name);
            else if (model->second.layer == 3 && operands[0] != name)
                usage(fmt::format("'{}' and --model {}: which one?", operands[0], name));
        }
        if (operands.size() > most) usage(fmt::format("unexpected '{}'", operands[most]));
        if (operands.size() < least) usage(fmt::format("{} is missing", command_.operands));
    }

    const CommandSpec& command_;
    const Environment& environment_;
    std::vector<const OptionSpec*> specs_;
    std::map<std::string_view, Given> given_;
    Options result_;
};

Options parse_options(const CommandSpec& command, const std::vector<std::string>& words,
                      const Environment& environment) {
    return OptionParser(command, environment).parse(words);
}

const std::vector<std::string>& Options::raw(std::string_view name, ValueKind a, ValueKind b,
                                             ValueKind c) const {
    const auto found = values_.find(name);
    SHEAF_CHECK(found != values_.end(), "option --{} of sheaf {}", name, command_);
    const ValueKind kind = found->second.spec->kind;
    SHEAF_CHECK(kind == a || kind == b || kind == c, "option --{} is of another kind", name);
    return found->second.words;
}

bool Options::given(std::string_view name) const {
    const auto found = values_.find(name);
    SHEAF_CHECK(found != values_.end(), "option --{} of sheaf {}", name, command_);
    return found->second.given;
}

bool Options::flag(std::string_view name) const {
    const auto& words = raw(name, ValueKind::flag, ValueKind::flag, ValueKind::flag);
    return !words.empty() && words.back() == "true";
}

std::optional<int64_t> Options::maybe_integer(std::string_view name) const {
    const auto& words = raw(name, ValueKind::integer, ValueKind::size, ValueKind::bytes);
    if (words.empty()) return std::nullopt;
    const ValueKind kind = values_.find(name)->second.spec->kind;
    return kind == ValueKind::integer ? read_integer(words.back())
           : kind == ValueKind::size  ? read_size(words.back())
                                      : read_bytes(words.back());
}

int64_t Options::integer(std::string_view name) const {
    const auto value = maybe_integer(name);
    SHEAF_CHECK(value.has_value(), "option --{} has neither value nor default", name);
    return *value;
}

std::optional<double> Options::maybe_number(std::string_view name) const {
    const auto& words = raw(name, ValueKind::number, ValueKind::number, ValueKind::number);
    return words.empty() ? std::nullopt : read_number(words.back());
}

double Options::number(std::string_view name) const {
    const auto value = maybe_number(name);
    SHEAF_CHECK(value.has_value(), "option --{} has neither value nor default", name);
    return *value;
}

std::string Options::text(std::string_view name) const {
    const auto& words = raw(name, ValueKind::text, ValueKind::choice, ValueKind::choice);
    return words.empty() ? "" : words.back();
}

std::vector<std::string> Options::texts(std::string_view name) const {
    return raw(name, ValueKind::texts, ValueKind::texts, ValueKind::texts);
}

nlohmann::ordered_json Options::json(std::string_view name) const {
    const auto& words = raw(name, ValueKind::json, ValueKind::json, ValueKind::json);
    return words.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json::parse(words.back());
}

std::string nearest_word(std::string_view word, std::span<const std::string_view> known) {
    std::string best;
    size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
    for (const std::string_view candidate : known) {
        if (word.size() > 64) break;
        std::vector<size_t> row(candidate.size() + 1);
        for (size_t j = 0; j < row.size(); ++j) row[j] = j;
        for (size_t i = 1; i <= word.size(); ++i) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j < row.size(); ++j) {
                const size_t above = row[j];
                row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (word[i - 1] != candidate[j - 1])});
                diagonal = above;
            }
        }
        if (row.back() < best_distance) best_distance = row.back(), best = candidate;
    }
    return best;
}

}  // namespace sheaf
