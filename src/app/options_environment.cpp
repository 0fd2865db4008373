#include <algorithm>
#include <cstdlib>

#include "app/options.h"
#include "base/error.h"
#include "base/file.h"

namespace sheaf {

namespace fs = std::filesystem;

std::vector<std::string> command_line(int argc, char** argv) {
    return {argv + std::min(argc, 1), argv + argc};
}

Environment process_environment() {
    return [](const char* name) -> const char* { return std::getenv(name); };
}

namespace {

fs::path hub_cache(const Environment& environment) {
    auto folder = [&](const char* name) -> fs::path {
        const char* value = environment(name);
        return value ? value : "";
    };
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
        if (!folder(name).empty()) return folder(name);
    if (!folder("HF_HOME").empty()) return folder("HF_HOME") / "hub";
    if (!folder("XDG_CACHE_HOME").empty()) return folder("XDG_CACHE_HOME") / "huggingface" / "hub";
    return folder("HOME") / ".cache" / "huggingface" / "hub";
}

/// models--owner--name/refs/REV names a commit; snapshots/COMMIT is the folder. Without a reference of that
/// name REV may be a commit itself; without a wish the newest snapshot does.
fs::path snapshot(const fs::path& repository, const std::string& revision) {
    std::error_code ignored;
    const std::string wanted = revision.empty() ? "main" : revision;
    const fs::path reference = repository / "refs" / wanted;
    if (fs::is_regular_file(reference, ignored)) {
        std::string commit = read_text_file(reference, 4096);
        while (!commit.empty() && static_cast<unsigned char>(commit.back()) <= ' ') commit.pop_back();
        const fs::path folder = repository / "snapshots" / commit;
        if (!commit.empty() && fs::is_directory(folder, ignored)) return folder;
    }
    if (!revision.empty()) {
        const fs::path folder = repository / "snapshots" / revision;
        return fs::is_directory(folder, ignored) ? folder : fs::path();
    }
    fs::path newest;
    for (const auto& entry : fs::directory_iterator(repository / "snapshots", ignored))
        if (entry.is_directory(ignored) &&
            (newest.empty() || fs::last_write_time(entry, ignored) > fs::last_write_time(newest, ignored)))
            newest = entry.path();
    return newest;
}

}  // namespace

fs::path resolve_model(const std::string& model, const std::string& revision,
                       const Environment& environment) {
    std::error_code ignored;
    if (model.empty()) fail(ErrorKind::not_found, "MODEL is empty: name a folder or an owner/name");
    if (fs::exists(model, ignored)) {
        if (fs::path(model).lexically_normal().filename().extension() == ".partial" ||
            fs::path(model).parent_path().extension() == ".partial")
            fail(ErrorKind::corrupt_file, "{}: is half written (.partial); finish or repeat what writes it",
                 model);
        return model;
    }
    const size_t slash = model.find('/');
    const bool name = slash != std::string::npos && slash > 0 && slash + 1 < model.size() &&
                      model.find('/', slash + 1) == std::string::npos && model[0] != '.' && model[0] != '~';
    if (!name)
        fail(ErrorKind::not_found,
             "model {}: no such folder; name a checkpoint folder or an owner/name of the Hugging Face cache",
             model);
    const fs::path cache = hub_cache(environment);
    const fs::path repository =
        cache / ("models--" + model.substr(0, slash) + "--" + model.substr(slash + 1));
    if (!fs::is_directory(repository, ignored))
        fail(ErrorKind::not_found,
             "model {}: neither a folder here nor in the Hugging Face cache {}; download it first, or set "
             "HF_HUB_CACHE",
             model, cache.string());
    const fs::path folder = snapshot(repository, revision);
    if (folder.empty())
        fail(ErrorKind::not_found, "model {}: {} has no snapshot{}; download it again", model,
             repository.string(), revision.empty() ? "" : " of revision " + revision);
    return folder;
}

}  // namespace sheaf
