// Input of generate, score, compare and prompt: the lines of a JSONL file (or standard input), or the one
// line that
// --prompt stands for. Used by these commands. Must not know what the fields of a line mean.
#pragma once

#include <cstdint>
#include <istream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "app/options.h"

namespace sheaf {

struct InputLine {
    nlohmann::ordered_json id;       // as given, else the line's number from 0
    nlohmann::ordered_json content;  // an object without "id"; null when `error` is set
    std::string error;               // why the line cannot be used
};

/// {"id": ..., "error": ...}
nlohmann::ordered_json error_line(const InputLine& line, const std::string& message);

/// The id as part of a tensor's name.
std::string id_text(const nlohmann::ordered_json& id);

class InputLines {
  public:
    /// From --prompt (with --system) or --input. Errors: UsageError unless exactly one is given; not_found.
    explicit InputLines(const Options& options);

    /// The next line that is not blank; none at the end.
    std::optional<InputLine> next();

    /// Came from --prompt.
    bool single() const { return single_; }

  private:
    std::unique_ptr<std::istream> file_;
    std::istream* stream_ = nullptr;
    std::optional<InputLine> only_;
    bool single_ = false;
    int64_t number_ = 0;
    std::string name_;
};

}  // namespace sheaf
