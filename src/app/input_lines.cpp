#include "app/input_lines.h"

#include <fmt/format.h>

#include <fstream>
#include <iostream>

#include "base/error.h"
#include "serve/json_reader.h"

namespace sheaf {

using Json = nlohmann::ordered_json;

Json error_line(const InputLine& line, const std::string& message) {
    return {{"id", line.id}, {"error", message}};
}

std::string id_text(const Json& id) {
    return id.is_string() ? id.get<std::string>() : id.dump();
}

InputLines::InputLines(const Options& options) {
    single_ = options.given("prompt");
    if (single_ == options.given("input")) throw UsageError("one of --prompt TEXT and --input FILE is due");
    if (!single_ && options.given("system"))
        throw UsageError("--system goes with --prompt; a line of --input has its own messages");
    if (single_) {
        Json messages = Json::array();
        if (options.given("system"))
            messages.push_back({{"role", "system"}, {"content", options.text("system")}});
        messages.push_back({{"role", "user"}, {"content", options.text("prompt")}});
        only_ = InputLine{0, {{"messages", std::move(messages)}}, ""};
        return;
    }
    name_ = options.text("input");
    if (name_ == "-") {
        stream_ = &std::cin;
        return;
    }
    file_ = std::make_unique<std::ifstream>(name_, std::ios::binary);
    if (!*file_) fail(ErrorKind::not_found, "--input {}: cannot be read", name_);
    stream_ = file_.get();
}

std::optional<InputLine> InputLines::next() {
    if (single_) return std::exchange(only_, std::nullopt);
    std::string text;
    while (std::getline(*stream_, text)) {
        const int64_t number = number_++;
        if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
        InputLine line{number, nullptr, ""};
        try {
            Json object = parse_json(text);
            if (!object.is_object()) fail(ErrorKind::invalid_input, "is not a JSON object");
            if (const auto id = object.find("id"); id != object.end()) {
                if (id->is_string() || id->is_number_integer())
                    line.id = *id;
                else if (!id->is_null())
                    fail(ErrorKind::invalid_input, "id: a string or a whole number is due");
                object.erase("id");
            }
            line.content = std::move(object);
        } catch (const Error& e) {
            line.error = fmt::format("line {}: {}", number + 1, e.what());
        }
        return line;
    }
    if (stream_->bad()) fail(ErrorKind::io, "--input {}: cannot be read to its end", name_);
    return std::nullopt;
}

}  // namespace sheaf
