#include "weights/checkpoint.h"

#include <simdjson.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <set>
#include <unordered_map>

#include "base/log.h"
#include "weights/printable.h"

namespace sheaf {
namespace {

namespace fs = std::filesystem;

constexpr const char* index_name = "model.safetensors.index.json";
constexpr size_t max_index_bytes = 256u << 20;
constexpr size_t max_index_depth = 16;
constexpr std::string_view shard_suffix = ".safetensors";

// "a, b and 3 more"
std::string shortened(const std::vector<std::string>& names, size_t limit = 3) {
    std::string text;
    for (size_t i = 0; i < std::min(limit, names.size()); ++i) text += (i ? ", " : "") + names[i];
    return names.size() > limit ? fmt::format("{} and {} more", text, names.size() - limit) : text;
}

// model.safetensors.index.json: which shard holds a tensor. The names point into the parsed document.
struct Index {
    simdjson::dom::parser parser;
    std::unordered_map<std::string_view, std::string_view> shard_of;
    std::set<std::string> shards;
};

// A shard must be a plain file name: an index may not point out of its folder. (Links are followed: the
// Hugging Face cache consists of them.)
void check_shard_name(std::string_view shard) {
    if (shard.empty() || shard.find_first_of(std::string_view("/\\\0", 3)) != shard.npos ||
        shard.front() == '.')
        fail(ErrorKind::corrupt_file, "{}: '{}' is not the name of a file in the same folder", index_name,
             printable(shard));
    if (!shard.ends_with(shard_suffix))
        fail(ErrorKind::unsupported, "{} names {}, which is not a safetensors file", index_name,
             printable(shard));
}

std::unique_ptr<Index> read_index(const fs::path& folder) {
    const fs::path path = folder / index_name;
    if (!fs::exists(path)) return nullptr;
    const std::string text = read_text_file(path, max_index_bytes);
    auto index = std::make_unique<Index>();
    simdjson::dom::object root, weight_map;
    auto error = index->parser.allocate(text.size(), max_index_depth);
    if (!error) error = index->parser.parse(text.data(), text.size()).get(root);
    if (error)
        fail(ErrorKind::corrupt_file, "{} is not a JSON object ({})", path.string(),
             simdjson::error_message(error));
    if (root["weight_map"].get(weight_map))
        fail(ErrorKind::corrupt_file, "{} has no object \"weight_map\"", path.string());
    index->shard_of.reserve(weight_map.size());
    for (const auto& [name, value] : weight_map) {
        std::string_view shard;
        if (value.get(shard))
            fail(ErrorKind::corrupt_file, "{}: the shard of '{}' is not a string", path.string(),
                 printable(name));
        if (!index->shards.contains(std::string(shard))) {
            check_shard_name(shard);
            index->shards.emplace(shard);
        }
        if (!index->shard_of.emplace(name, shard).second)
            fail(ErrorKind::corrupt_file, "{}: '{}' is there twice", path.string(), printable(name));
    }
    return index;
}

// The folder's safetensors files by name, sorted. Half-written files have another suffix and are not seen.
std::set<std::string> safetensors_files(const fs::path& folder, std::vector<std::string>& foreign) {
    std::set<std::string> files;
    for (const auto& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        const std::string suffix = entry.path().extension().string();
        if (name.front() == '.' || !entry.is_regular_file()) continue;
        if (suffix == shard_suffix) files.insert(name);
        if (suffix == ".gguf" || suffix == ".bin" || suffix == ".pt" || suffix == ".pth" || suffix == ".ckpt")
            foreign.push_back(name);
    }
    std::sort(foreign.begin(), foreign.end());
    return files;
}

[[noreturn]] void refuse_without_safetensors(const fs::path& folder,
                                             const std::vector<std::string>& foreign) {
    if (foreign.empty())
        fail(ErrorKind::not_found, "{} holds no *.safetensors file; is it a checkpoint folder?",
             folder.string());
    if (foreign.front().ends_with(".gguf"))
        fail(ErrorKind::unsupported, "{} holds only GGUF files ({}); use the model's safetensors folder",
             folder.string(), shortened(foreign));
    fail(ErrorKind::unsupported,
         "{} holds only pickle files ({}), which can run code and are never read; save the model as "
         "safetensors",
         folder.string(), shortened(foreign));
}

class FolderCheckpoint final : public Checkpoint {
  public:
    explicit FolderCheckpoint(fs::path folder) : folder_(std::move(folder)) {}

    void read() {
        std::vector<std::string> foreign;
        const std::set<std::string> files = safetensors_files(folder_, foreign);
        const auto index = read_index(folder_);
        if (files.empty() && !index) refuse_without_safetensors(folder_, foreign);
        if (index) check_shards_present(*index, files);
        for (const std::string& name : files) files_.push_back(SafetensorsFile::open(folder_ / name));
        size_t count = 0;
        for (const auto& file : files_) count += file->entries().size();
        by_name_.reserve(count);
        for (size_t i = 0; i < files_.size(); ++i) add_tensors(i, index.get());
        if (index) check_tensors_present(*index);
    }

    const fs::path& folder() const override { return folder_; }

    void rename(const std::function<std::string(std::string_view)>& canonical_name) override {
        by_name_.clear();
        for (Item& item : items_) {
            item.name = canonical_name(item.name);
            if (item.name.empty()) {
                item.used = true;
                continue;
            }
            const auto [place, fresh] = by_name_.try_emplace(item.name, &item);
            if (fresh) continue;
            Item& other = *place->second;
            if (item.indexed == other.indexed)
                fail(ErrorKind::corrupt_file, "{}: '{}' in {} and '{}' in {} are the same tensor; remove one",
                     folder_.string(), entry_of(item).name, file_name(item), entry_of(other).name,
                     file_name(other));
            Item& loser = item.indexed ? other : item;
            log::debug("{} in {} is ignored: the index has it elsewhere", entry_of(loser).name,
                       file_name(loser));
            loser.used = true;
            if (item.indexed) {  // the key must point into the string of the tensor that stays
                by_name_.erase(place);
                by_name_.emplace(item.name, &item);
            }
        }
    }

    uint64_t total_bytes() const override {
        uint64_t bytes = 0;
        for (const auto& [name, item] : by_name_) bytes += entry_of(*item).end - entry_of(*item).begin;
        return bytes;
    }

    std::vector<std::pair<fs::path, uint64_t>> shards() const override {
        std::vector<std::pair<fs::path, uint64_t>> result;
        for (const auto& file : files_) result.emplace_back(file->path(), file->size());
        return result;
    }

    const Info* find(std::string_view name) const override {
        const Item* item = look_up(name);
        return item ? &item->info : nullptr;
    }

    HostTensor take(std::string_view name) override {
        Item* item = look_up(name);
        if (!item) fail(ErrorKind::not_found, "{} has no tensor '{}'", folder_.string(), name);
        item->used.store(true, std::memory_order_relaxed);
        return files_[item->file]->tensor(entry_of(*item));
    }

    void skip(std::string_view name) override {
        if (Item* item = look_up(name)) item->used.store(true, std::memory_order_relaxed);
    }

    std::vector<std::string> names() const override {
        return sorted_names([](const Item&) { return true; });
    }

    std::vector<std::string> unused() const override {
        return sorted_names([](const Item& item) { return !item.used; });
    }

    std::string where(std::string_view name) const override {
        const Item* item = look_up(name);
        return item ? file_name(*item) : folder_.string();
    }

  private:
    struct Item {
        std::string name;
        Info info;
        size_t file, entry;
        bool indexed;  // the index says that it lies in this file
        std::atomic<bool> used;
    };

    Item* look_up(std::string_view name) const {
        const auto found = by_name_.find(name);
        return found == by_name_.end() ? nullptr : found->second;
    }
    const SafetensorsEntry& entry_of(const Item& item) const {
        return files_[item.file]->entries()[item.entry];
    }
    std::string file_name(const Item& item) const { return files_[item.file]->path().filename().string(); }

    template <class Predicate>
    std::vector<std::string> sorted_names(const Predicate& wanted) const {
        std::vector<std::string> names;
        for (const auto& [name, item] : by_name_)
            if (wanted(*item)) names.emplace_back(name);
        std::sort(names.begin(), names.end());
        return names;
    }

    void check_shards_present(const Index& index, const std::set<std::string>& files) const {
        std::vector<std::string> missing;
        std::set_difference(index.shards.begin(), index.shards.end(), files.begin(), files.end(),
                            std::back_inserter(missing));
        if (!missing.empty())
            fail(ErrorKind::not_found,
                 "{}: {} of the {} shards that {} names are missing: {}; download them again",
                 folder_.string(), missing.size(), index.shards.size(), index_name, shortened(missing));
    }

    void add_tensors(size_t file, const Index* index) {
        const std::string name = files_[file]->path().filename().string();
        const auto& entries = files_[file]->entries();
        for (size_t i = 0; i < entries.size(); ++i) {
            const SafetensorsEntry& entry = entries[i];
            bool indexed = false;
            if (index) {
                const auto found = index->shard_of.find(entry.name);
                indexed = found != index->shard_of.end();
                if (indexed && found->second != name) {
                    log::debug("{} in {} is ignored: the index has it in {}", entry.name, name,
                               found->second);
                    continue;
                }
            }
            Item& item =
                items_.emplace_back(entry.name, Info{entry.dtype, entry.shape}, file, i, indexed, false);
            const auto [place, fresh] = by_name_.try_emplace(item.name, &item);
            if (!fresh)
                fail(ErrorKind::corrupt_file, "{}: tensor '{}' is in both {} and {}; remove one of the files",
                     folder_.string(), entry.name, file_name(*place->second), name);
            indexed_ += indexed ? 1 : 0;
        }
    }

    void check_tensors_present(const Index& index) const {
        if (indexed_ == index.shard_of.size()) return;
        std::vector<std::string> missing;
        for (const auto& [name, shard] : index.shard_of)
            if (!look_up(name)) missing.push_back(fmt::format("{} ({})", printable(name), shard));
        std::sort(missing.begin(), missing.end());
        fail(ErrorKind::corrupt_file, "{}: {} tensors that {} names are not in their shards: {}",
             folder_.string(), missing.size(), index_name, shortened(missing));
    }

    fs::path folder_;
    std::vector<std::shared_ptr<const SafetensorsFile>> files_;
    std::deque<Item> items_;
    size_t indexed_ = 0;                                   // items that the index lists
    std::unordered_map<std::string_view, Item*> by_name_;  // keys point into the items
};

}  // namespace

std::unique_ptr<Checkpoint> Checkpoint::open(const fs::path& folder) {
    if (!fs::exists(folder)) fail(ErrorKind::not_found, "there is no folder {}", folder.string());
    if (!fs::is_directory(folder))
        fail(ErrorKind::invalid_input, "{} is a file; a checkpoint is a folder", folder.string());
    if (folder.filename().string().ends_with(".partial"))
        fail(ErrorKind::corrupt_file, "{} is the unfinished work of a command that writes a checkpoint",
             folder.string());
    try {
        auto checkpoint = std::make_unique<FolderCheckpoint>(folder);
        checkpoint->read();
        return checkpoint;
    } catch (const fs::filesystem_error& error) {
        fail(ErrorKind::io, "cannot read {}: {}", folder.string(), error.code().message());
    }
}

}  // namespace sheaf
