#include "app/options_values.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace sheaf::option_values {

namespace {

template <class T>
std::optional<T> read_whole(std::string_view word) {
    if (!word.empty() && word.front() == '+') word.remove_prefix(1);
    T value{};
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || word.empty()) return std::nullopt;
    return value;
}

std::optional<int64_t> scaled(double count, double unit) {
    const double value = std::round(count * unit);
    if (!(value >= 0) || value > 9e18) return std::nullopt;
    return static_cast<int64_t>(value);
}

}  // namespace

std::optional<bool> read_flag(std::string_view word) {
    const std::string text = lower(word);
    if (text == "true" || text == "1" || text == "yes" || text == "on") return true;
    if (text == "false" || text == "0" || text == "no" || text == "off") return false;
    return std::nullopt;
}

std::optional<int64_t> read_integer(std::string_view word) {
    return read_whole<int64_t>(word);
}

std::optional<double> read_number(std::string_view word) {
    const auto value = read_whole<double>(word);
    return value && std::isfinite(*value) ? value : std::nullopt;
}

std::optional<int64_t> read_size(std::string_view word) {
    if (word == "auto" || word == "-1") return -1;
    if (word.empty()) return std::nullopt;
    static constexpr std::string_view decimal = "kmgt", binary = "KMGT";
    const std::string_view count = word.substr(0, word.size() - 1);
    if (const size_t power = decimal.find(word.back()); power != std::string_view::npos) {
        const auto value = read_number(count);
        return value ? scaled(*value, std::pow(1000.0, static_cast<double>(power + 1))) : std::nullopt;
    }
    if (const size_t power = binary.find(word.back()); power != std::string_view::npos) {
        const auto value = read_integer(count);
        return value ? scaled(static_cast<double>(*value), std::pow(1024.0, static_cast<double>(power + 1)))
                     : std::nullopt;
    }
    const auto value = read_integer(word);
    return value && *value >= 0 ? value : std::nullopt;
}

std::optional<int64_t> read_bytes(std::string_view word) {
    const size_t digits = word.find_first_not_of("0123456789.");
    const auto count = read_number(word.substr(0, digits));
    if (!count) return std::nullopt;
    std::string unit = digits == std::string_view::npos ? "" : lower(word.substr(digits));
    if (unit.empty() || unit == "b") return scaled(*count, 1);
    const size_t power = std::string_view("kmgt").find(unit.front());
    if (power == std::string_view::npos) return std::nullopt;
    unit.erase(0, 1);
    const double exponent = static_cast<double>(power + 1);
    if (unit.empty() || unit == "ib") return scaled(*count, std::pow(1024.0, exponent));
    return unit == "b" ? scaled(*count, std::pow(1000.0, exponent)) : std::nullopt;
}

std::optional<nlohmann::ordered_json> read_json(std::string_view word) {
    auto value = nlohmann::ordered_json::parse(word, nullptr, false);
    if (!value.is_object() && !value.is_array()) return std::nullopt;
    return value;
}

bool set_member(nlohmann::ordered_json& object, std::string_view path, const std::string& word) {
    const auto parts = split(path, '.');
    if (parts.size() > 16) return false;
    nlohmann::ordered_json* place = &object;
    for (const std::string_view part : parts) {
        if (part.empty() || !(place->is_object() || place->is_null())) return false;
        place = &(*place)[std::string(part)];
    }
    auto value = nlohmann::ordered_json::parse(word, nullptr, false);
    if (value.is_discarded()) value = word;
    *place = std::move(value);
    return true;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (true) {
        const size_t end = text.find(separator);
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

}  // namespace sheaf::option_values
