// ConfigReader: typed, bounded access to one JSON object of a config file; every failure names file and key.
// Used by model/config only. Must not know what the keys mean.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace sheaf {

struct ModelConfig;

class ConfigReader {
  public:
    /// Keeps a reference to `json`.
    ConfigReader(const nlohmann::json& json, std::string where) : json_(&json), where_(std::move(where)) {}

    const std::string& where() const { return where_; }
    const nlohmann::json& json() const { return *json_; }
    /// A key that is null counts as absent.
    bool has(const char* key) const { return json_->contains(key) && !(*json_)[key].is_null(); }
    [[noreturn]] void reject(const char* key, const std::string& why) const;

    ConfigReader object(const char* key) const;
    int64_t integer(const char* key, int64_t least, int64_t most) const;
    int64_t integer_or(const char* key, int64_t otherwise, int64_t least, int64_t most) const;
    double number(const char* key) const;  // finite
    double number_or(const char* key, double otherwise) const;
    std::optional<double> maybe_number(const char* key) const;
    bool boolean_or(const char* key, bool otherwise) const;
    std::string string_or(const char* key, const std::string& otherwise) const;
    std::vector<std::string> strings(const char* key) const;  // empty when absent
    std::vector<int64_t> integers(const char* key, int64_t least, int64_t most) const;
    /// An integer or a list of them; empty when absent.
    std::vector<int64_t> integer_or_list(const char* key, int64_t least, int64_t most) const;

  private:
    const nlohmann::json* json_;
    std::string where_;
};

/// quantization_config of any known method into config.quantization and config.unquantized_modules.
void read_quantization(const ConfigReader& at, ModelConfig& config);

}  // namespace sheaf
