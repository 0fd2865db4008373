#include "backend/cpu/memory_info.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

namespace sheaf::cpu {
namespace {

namespace fs = std::filesystem;
constexpr size_t unlimited = std::numeric_limits<size_t>::max();

size_t meminfo(const std::string& key) {
    std::ifstream file("/proc/meminfo");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with(key + ":")) continue;
        std::istringstream rest(line.substr(key.size() + 1));
        size_t kibibytes = 0;
        rest >> kibibytes;
        return kibibytes * 1024;
    }
    return 0;
}

/// The number in a file; nothing for "max", absence or a limit so high that it is none.
std::optional<size_t> number_in(const fs::path& path) {
    std::ifstream file(path);
    size_t value = 0;
    if (!(file >> value) || value > (size_t{1} << 60)) return std::nullopt;
    return value;
}

/// A field of memory.stat: "inactive_file 123".
size_t stat_field(const fs::path& path, const std::string& key) {
    std::ifstream file(path);
    std::string name;
    for (size_t value = 0; file >> name >> value;)
        if (name == key) return value;
    return 0;
}

struct GroupMemory {
    size_t limit = unlimited, free = unlimited;
};

/// The tightest of the groups from `folder` up to `root`. Cached file pages do not count as used.
GroupMemory tightest(const fs::path& root, fs::path folder, const char* limit_file, const char* usage_file) {
    GroupMemory result;
    for (int depth = 0; depth < 64; ++depth) {
        if (const auto limit = number_in(folder / limit_file)) {
            const size_t used = number_in(folder / usage_file).value_or(0);
            const size_t cached = stat_field(folder / "memory.stat", "inactive_file");
            const size_t taken = used > cached ? used - cached : 0;
            result.limit = std::min(result.limit, *limit);
            result.free = std::min(result.free, *limit > taken ? *limit - taken : 0);
        }
        if (folder == root || folder == folder.parent_path()) break;
        folder = folder.parent_path();
    }
    return result;
}

GroupMemory group_memory() {
    std::string unified, controller;
    std::ifstream file("/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {  // "0::/path" or "7:memory:/path"
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string names = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
        if (names.empty()) unified = path;
        if (names.find("memory") != std::string::npos) controller = path;
    }
    const fs::path root = "/sys/fs/cgroup";
    auto below = [](const fs::path& base, const std::string& path) {  // inside a container it may not exist
        const fs::path folder = base / fs::path(path).relative_path();
        return fs::exists(folder) ? folder : base;
    };
    if (!controller.empty())
        return tightest(root / "memory", below(root / "memory", controller), "memory.limit_in_bytes",
                        "memory.usage_in_bytes");
    return tightest(root, below(root, unified), "memory.max", "memory.current");
}

}  // namespace

size_t total_memory_bytes() {
    return std::min(meminfo("MemTotal"), group_memory().limit);
}

size_t available_memory_bytes() {
    return std::min(meminfo("MemAvailable"), group_memory().free);
}

}  // namespace sheaf::cpu
