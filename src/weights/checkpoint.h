// A checkpoint folder in Hugging Face form: its safetensors shards, mapped, and which tensor lies where. The
// index file is trusted first; without one, and for files it does not list, the folder's *.safetensors are
// read. A WeightSource. Must not know the model or config.json.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>

#include "weights/safetensors.h"
#include "weights/weight_source.h"

namespace sheaf {

class Checkpoint : public WeightSource {
  public:
    /// Opens every shard and checks all headers (reading no weights). Where two files hold the same tensor
    /// the index decides. Errors: not_found (folder, shard), corrupt_file, unsupported (a folder with only
    /// pickle or GGUF files), io.
    static std::unique_ptr<Checkpoint> open(const std::filesystem::path& folder);

    virtual const std::filesystem::path& folder() const = 0;
    /// Renames every tensor for look-ups: from the spelling in the files to the canonical one; "" drops it
    /// (skipped). Of two tensors with one canonical name the only one that the index lists wins; otherwise
    /// they are Error(corrupt_file). Called once, before any look-up.
    virtual void rename(const std::function<std::string(std::string_view)>& canonical_name) = 0;
    /// Bytes of all tensors; the shard files with their sizes.
    virtual uint64_t total_bytes() const = 0;
    virtual std::vector<std::pair<std::filesystem::path, uint64_t>> shards() const = 0;
};

}  // namespace sheaf
