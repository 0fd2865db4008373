// What the tests of this folder share: a folder that goes away, a source of tensors in memory, and the check
// that an error is the right one. Included by *_test.cpp only. Must not know any format.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "weights/weight_source.h"

namespace sheaf::testing {

class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "sheaf-weights-XXXXXX").string();
        if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make a folder");
        path_ = pattern;
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
    void write(std::string_view name, std::string_view text) const {
        std::ofstream(path_ / name, std::ios::binary)
            .write(text.data(), static_cast<std::streamsize>(text.size()));
    }

  private:
    std::filesystem::path path_;
};

/// Tensors by name, as a checkpoint would hand them out.
class MemorySource : public WeightSource {
  public:
    template <class T>
    void add(const std::string& name, DType dtype, Shape shape, const std::vector<T>& values) {
        HostTensor tensor(dtype, shape);
        ASSERT_EQ(tensor.view.bytes(), values.size() * sizeof(T)) << name;
        if (!values.empty()) std::memcpy(tensor.view.raw(), values.data(), tensor.view.bytes());
        tensors_[name] = tensor;
        infos_[name] = {dtype, shape};
    }
    void remove(const std::string& name) {
        tensors_.erase(name);
        infos_.erase(name);
    }
    const HostTensor& at(const std::string& name) const { return tensors_.at(name); }

    const Info* find(std::string_view name) const override {
        const auto found = infos_.find(name);
        return found == infos_.end() ? nullptr : &found->second;
    }
    HostTensor take(std::string_view name) override {
        const auto found = tensors_.find(name);
        if (found == tensors_.end()) fail(ErrorKind::not_found, "no tensor '{}'", name);
        used_.insert(found->first);
        return found->second;
    }
    void skip(std::string_view name) override { used_.emplace(name); }
    std::vector<std::string> names() const override {
        std::vector<std::string> result;
        for (const auto& [name, info] : infos_) result.push_back(name);
        return result;
    }
    std::vector<std::string> unused() const override {
        std::vector<std::string> result;
        for (const auto& [name, info] : infos_)
            if (!used_.contains(name)) result.push_back(name);
        return result;
    }
    std::string where(std::string_view) const override { return "memory"; }

  private:
    std::map<std::string, HostTensor, std::less<>> tensors_;
    std::map<std::string, Info, std::less<>> infos_;
    std::set<std::string> used_;
};

/// Runs `action`, which must throw sheaf::Error of this kind whose message contains every one of `parts`.
template <class Action>
void expect_error(ErrorKind kind, std::initializer_list<std::string_view> parts, const Action& action) {
    try {
        action();
        ADD_FAILURE() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
        for (std::string_view part : parts)
            EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
                << "'" << part << "' is not in: " << error.what();
    }
}

}  // namespace sheaf::testing
