#include "app/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace sheaf::output {

void write(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
        fail(ErrorKind::io, "standard output: {}", std::strerror(errno));
}

void write_now(std::string_view text) {
    write(text);
    finish();
}

void write_line(const nlohmann::ordered_json& value) {
    write(value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
    finish();
}

void finish() {
    if (std::fflush(stdout) != 0) fail(ErrorKind::io, "standard output: {}", std::strerror(errno));
}

namespace {

/// "12,345", "3.5 GiB", "97 %": what stands under another of its kind.
bool is_figure(const std::string& cell) {
    const size_t end = cell.find_first_not_of("0123456789,.");
    if (end == 0 || cell.empty()) return false;
    return end == std::string::npos ||
           (cell[end] == ' ' && cell.size() - end <= 4 && cell.find(' ', end + 1) == std::string::npos);
}

}  // namespace

std::string table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<size_t> widths;
    for (const auto& row : rows)
        for (size_t i = 0; i < row.size(); ++i) {
            if (widths.size() <= i) widths.push_back(0);
            widths[i] = std::max(widths[i], row[i].size());
        }
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (size_t i = 0; i < row.size(); ++i) {
            const bool right = i > 0 && is_figure(row[i]);
            line +=
                right ? fmt::format("{:>{}}", row[i], widths[i]) : fmt::format("{:<{}}", row[i], widths[i]);
            line += "  ";
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + '\n';
    }
    return text;
}

std::string pairs(const std::vector<std::pair<std::string, std::string>>& rows) {
    size_t width = 0;
    for (const auto& [name, value] : rows) width = std::max(width, name.size());
    std::string text;
    for (const auto& [name, value] : rows)
        text += value.empty() ? name + "\n" : fmt::format("{:<{}}  {}\n", name, width, value);
    return text;
}

std::string bytes_text(double bytes) {
    static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit < 4) bytes /= 1024, ++unit;
    return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

std::string count_text(int64_t count) {
    const std::string digits = std::to_string(count);
    std::string text;
    for (size_t i = 0; i < digits.size(); ++i) {
        const size_t left = digits.size() - i;
        if (i > 0 && left % 3 == 0 && digits[i - 1] != '-') text.push_back(',');
        text.push_back(digits[i]);
    }
    return text;
}

}  // namespace sheaf::output
