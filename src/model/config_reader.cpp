#include "model/config_reader.h"

#include <cmath>

#include "model/config.h"

namespace sheaf {

void ConfigReader::reject(const char* key, const std::string& why) const {
    fail(ErrorKind::corrupt_file, "{}: {} {}", where_, key, why);
}

ConfigReader ConfigReader::object(const char* key) const {
    if (!has(key) || !(*json_)[key].is_object()) reject(key, "is missing or not an object");
    return {(*json_)[key], fmt::format("{}: {}", where_, key)};
}

int64_t ConfigReader::integer(const char* key, int64_t least, int64_t most) const {
    if (!has(key)) reject(key, "is missing");
    const auto& value = (*json_)[key];
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX))
        reject(key, "is not an integer");
    const int64_t number = value.get<int64_t>();
    if (number < least || number > most)
        reject(key, fmt::format("is {}, not between {} and {}", number, least, most));
    return number;
}

int64_t ConfigReader::integer_or(const char* key, int64_t otherwise, int64_t least, int64_t most) const {
    return has(key) ? integer(key, least, most) : otherwise;
}

double ConfigReader::number(const char* key) const {
    if (!has(key) || !(*json_)[key].is_number()) reject(key, "is missing or not a number");
    const double value = (*json_)[key].get<double>();
    if (!std::isfinite(value)) reject(key, "is not finite");
    return value;
}

double ConfigReader::number_or(const char* key, double otherwise) const {
    return has(key) ? number(key) : otherwise;
}

std::optional<double> ConfigReader::maybe_number(const char* key) const {
    return has(key) ? std::optional(number(key)) : std::nullopt;
}

bool ConfigReader::boolean_or(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!(*json_)[key].is_boolean()) reject(key, "is not true or false");
    return (*json_)[key].get<bool>();
}

std::string ConfigReader::string_or(const char* key, const std::string& otherwise) const {
    if (!has(key)) return otherwise;
    if (!(*json_)[key].is_string()) reject(key, "is not a string");
    return (*json_)[key].get<std::string>();
}

std::vector<std::string> ConfigReader::strings(const char* key) const {
    std::vector<std::string> values;
    if (!has(key)) return values;
    if (!(*json_)[key].is_array()) reject(key, "is not a list");
    for (const auto& value : (*json_)[key]) {
        if (!value.is_string()) reject(key, "has an entry that is not a string");
        values.push_back(value.get<std::string>());
    }
    return values;
}

std::vector<int64_t> ConfigReader::integers(const char* key, int64_t least, int64_t most) const {
    std::vector<int64_t> values;
    if (!has(key)) return values;
    if (!(*json_)[key].is_array()) reject(key, "is not a list");
    for (const auto& value : (*json_)[key]) {
        if (!value.is_number_integer()) reject(key, "has an entry that is not an integer");
        const auto number = value.get<int64_t>();
        if (number < least || number > most) reject(key, fmt::format("has {}, out of range", number));
        values.push_back(number);
    }
    return values;
}

std::vector<int64_t> ConfigReader::integer_or_list(const char* key, int64_t least, int64_t most) const {
    if (!has(key)) return {};
    if ((*json_)[key].is_array()) return integers(key, least, most);
    return {integer(key, least, most)};
}

namespace {

void read_compressed_tensors(const ConfigReader& at, ModelConfig& config) {
    QuantizationHints& hints = config.quantization;
    hints.packing = at.string_or("format", "");
    config.unquantized_modules = at.strings("ignore");
    if (!at.has("config_groups")) return;
    const ConfigReader groups = at.object("config_groups");
    for (const auto& [name, group] : groups.json().items()) {
        if (!group.is_object() || !group.contains("weights") || !group["weights"].is_object()) continue;
        const ConfigReader weights(group["weights"], fmt::format("{}: {}", groups.where(), name));
        hints.bits = static_cast<int>(weights.integer_or("num_bits", 4, 1, 64));
        hints.group_size = weights.integer_or("group_size", -1, -1, 1 << 20);
        hints.symmetric = weights.boolean_or("symmetric", true);
    }
}

}  // namespace

void read_quantization(const ConfigReader& at, ModelConfig& config) {
    QuantizationHints& hints = config.quantization;
    hints.method = at.string_or("quant_method", "");
    if (hints.method == "intel/auto-round") hints.method = "auto-round";
    if (hints.method == "compressed-tensors") {
        read_compressed_tensors(at, config);
        return;
    }
    hints.bits = static_cast<int>(at.integer_or("bits", 4, 1, 64));
    hints.group_size = at.integer_or("group_size", 128, -1, 1 << 20);
    hints.symmetric = at.boolean_or("sym", true);
    if (hints.method == "awq") hints.symmetric = !at.boolean_or("zero_point", true);
    hints.packing =
        at.string_or("packing_format", at.string_or("checkpoint_format", at.string_or("version", "")));
    // The stored zero point is the used one minus 1 in GPTQ's first format; AutoRound says so by "auto_gptq".
    if (hints.method == "auto-round") {
        hints.zero_point_minus_one = hints.packing.find("auto_gptq") != std::string::npos;
    } else {
        hints.zero_point_minus_one = hints.packing != "gptq_v2" && hints.method != "awq";
    }
    if (at.has("weight_block_size")) {
        const auto block = at.integers("weight_block_size", 1, 1 << 20);
        if (block.size() != 2) at.reject("weight_block_size", "does not have two entries");
        hints.fp8_block_rows = block[0];
        hints.fp8_block_columns = block[1];
    }
    config.unquantized_modules = at.strings("modules_to_not_convert");
    if (at.has("extra_config") && at.json()["extra_config"].is_object()) {
        for (const auto& [name, entry] : at.json()["extra_config"].items()) {
            if (entry.is_object() && entry.value("bits", 16) >= 16)
                config.unquantized_modules.push_back(name);
        }
    }
    if (at.has("dynamic") && at.json()["dynamic"].is_object()) {
        for (const auto& [name, entry] : at.json()["dynamic"].items())
            if (name.starts_with("-:")) config.unquantized_modules.push_back(name.substr(2));
    }
}

}  // namespace sheaf
