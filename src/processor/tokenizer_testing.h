// Helpers for tests that need a tokenizer: the small vocabulary of tests/golden, changed as a test wishes.
// Used by the tests of the tokenizer and the detokenizer; must not know what they check.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "processor/tokenizer.h"

namespace sheaf::testing {

inline std::filesystem::path golden_folder() {
    return std::filesystem::path(SHEAF_SOURCE_DIR) / "tests/golden/tokenizer";
}
inline std::filesystem::path small_folder() {
    return golden_folder() / "small";
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
    std::ifstream file(path);
    EXPECT_TRUE(file.good()) << path;
    return nlohmann::json::parse(file);
}

/// A folder that disappears with the object.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        static int count = 0;
        path_ = std::filesystem::path(::testing::TempDir()) /
                ("sheaf-tokenizer-" + std::to_string(getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directories(path_);
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    const std::filesystem::path& path() const { return path_; }
    void write(const char* name, const std::string& text) const { std::ofstream(path_ / name) << text; }

  private:
    std::filesystem::path path_;
};

/// A tokenizer of these documents; a null configuration writes no tokenizer_config.json.
inline Tokenizer load_documents(const nlohmann::json& tokenizer, const nlohmann::json& config) {
    TemporaryFolder folder;
    folder.write("tokenizer.json", tokenizer.dump());
    if (!config.is_null()) folder.write("tokenizer_config.json", config.dump());
    return Tokenizer::load(folder.path());
}

}  // namespace sheaf::testing
