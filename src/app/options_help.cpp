#include <fmt/format.h>

#include "app/options.h"

namespace sheaf {

namespace {

constexpr size_t width = 100;

/// `text` in lines of at most `width` columns, each after the first indented by `indent`.
std::string wrapped(std::string_view text, size_t indent, size_t column) {
    std::string result;
    while (!text.empty()) {
        const size_t end = std::min(text.find(' '), text.size());
        if (column + end + 1 > width && column > indent) {
            result.push_back('\n');
            result.append(indent, ' ');
            column = indent;
        } else if (!result.empty() && result.back() != ' ') {
            result += ' ';
            ++column;
        }
        result += text.substr(0, end);
        column += end;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return result;
}

std::string spelling(const OptionSpec& option) {
    std::string result = fmt::format("--{}", option.name);
    if (option.kind != ValueKind::flag) result += fmt::format(" {}", option.value);
    return result;
}

std::string described(const OptionSpec& option) {
    std::string result(option.help);
    if (!option.fallback.empty()) result += fmt::format(" (default: {})", option.fallback);
    return result;
}

bool about_nothing(const OptionGroup& group) {
    return group.title == "Known from vLLM";
}

std::string usage_line(const CommandSpec& command) {
    return fmt::format("sheaf {}{}{}{}", command.name, command.operands.empty() ? "" : " ", command.operands,
                       command.groups.empty() ? "" : " [OPTIONS]");
}

/// Markdown's own column mark is escaped.
std::string in_cell(std::string_view text) {
    std::string cell;
    for (const char c : text) {
        if (c == '|') cell.push_back('\\');
        cell.push_back(c);
    }
    return cell;
}

std::string_view standing(const OptionSpec& option) {
    if (option.standing == Standing::meaningless) return "does nothing: ";
    return option.standing == Standing::refused ? "refused: " : "";
}

}  // namespace

std::string general_help() {
    std::string text =
        "Usage: sheaf COMMAND MODEL [OPTIONS]\n\nServes and examines Qwen3.5 checkpoints.\n\nCommands:\n";
    for (const CommandSpec& command : command_specs())
        text += fmt::format("  {:<13}{}\n", command.name, command.summary);
    return text +
           "\nMODEL is a folder in Hugging Face form, or an owner/name of the local Hugging Face cache.\n"
           "sheaf COMMAND --help lists a command's options.\n";
}

std::string command_help(const CommandSpec& command) {
    std::string text = fmt::format("Usage: {}\n\n{}\n", usage_line(command), wrapped(command.summary, 0, 0));
    if (!command.details.empty()) text += fmt::format("\n{}\n", wrapped(command.details, 0, 0));
    for (const OptionGroup& group : command.groups) {
        text += fmt::format("\n{}:\n", group.title);
        if (about_nothing(group)) {
            std::string names;
            for (const OptionSpec& option : group.options)
                names += fmt::format("{}--{}", names.empty() ? "" : " ", option.name);
            text += fmt::format("  {}\n  (docs/cli.md says what becomes of each)\n", wrapped(names, 2, 2));
            continue;
        }
        for (const OptionSpec& option : group.options) {
            if (option.standing == Standing::refused) continue;
            const std::string name = spelling(option);
            const bool long_name = name.size() > 30;
            text += fmt::format("  {:<30}{}{}\n", name, long_name ? "\n" + std::string(32, ' ') : "",
                                wrapped(described(option), 32, 32));
        }
    }
    text += fmt::format("\n  {:<30}{}\n", "--help", "this text");
    return text;
}

std::string markdown_help() {
    std::string text =
        "# The command line\n\n"
        "<!-- Written by `sheaf help --markdown` from the option tables in src/app; a test holds the two "
        "together. -->\n\n"
        "One binary, `sheaf COMMAND MODEL [OPTIONS]`. MODEL is a folder in Hugging Face form, or an "
        "`owner/name` found in\n"
        "the local Hugging Face cache (`HF_HUB_CACHE`, `HF_HOME`, then the default place). Nothing is "
        "downloaded.\n\n"
        "* Results go to standard output, everything else to standard error.\n"
        "* Underscores and dashes are the same in names; `--flag=value` and `--flag value` are too. A switch "
        "that is on is\n"
        "  turned off by `--no-flag`. Of an option given twice the last one counts; options that take "
        "several words\n"
        "  (`NAME...`) add up. JSON options take an object, or members: `--limit-mm-per-prompt.video 0`.\n"
        "* The command line comes first, then the environment (`--max-model-len` is `SHEAF_MAX_MODEL_LEN`), "
        "then the file\n"
        "  of `--config FILE.yaml` (a map of name: value), then the default. Unknown options are refused.\n"
        "* Exit status: 0 done; 1 the world's fault (one line: what, where, what to do); 2 a wrong command "
        "line;\n"
        "  3 findings (`compare`); 130 and 143 interrupted by Ctrl-C and SIGTERM.\n\n"
        "| command | does |\n|---|---|\n";
    for (const CommandSpec& command : command_specs())
        text += fmt::format("| [`{0}`](#sheaf-{0}) | {1} |\n", command.name, command.summary);
    for (const CommandSpec& command : command_specs()) {
        text +=
            fmt::format("\n## sheaf {}\n\n`{}`: {}.\n", command.name, usage_line(command), command.summary);
        if (!command.details.empty()) text += fmt::format("\n{}\n", command.details);
        for (const OptionGroup& group : command.groups) {
            text += fmt::format("\n**{}**\n\n", group.title);
            if (about_nothing(group))
                text +=
                    "These are known so that commands written for vLLM work; each is answered with one line "
                    "in the log.\n\n";
            text += "| option | meaning |\n|---|---|\n";
            for (const OptionSpec& option : group.options) {
                std::string name = fmt::format("`{}`", spelling(option)), meaning = described(option);
                if (!option.aliases.empty()) name += fmt::format(" (`{}`)", option.aliases);
                if (option.standing != Standing::honoured)
                    meaning += fmt::format("; *{}{}*", standing(option), option.reason);
                if (!option.environment.empty()) meaning += fmt::format("; also `{}`", option.environment);
                text += fmt::format("| {} | {} |\n", in_cell(name), in_cell(meaning));
            }
        }
    }
    return text;
}

}  // namespace sheaf
