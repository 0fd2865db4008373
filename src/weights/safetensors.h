// One safetensors file: reading through a map with every check on its header before a byte is believed, and
// writing. Used by Checkpoint and by commands that write tensors. Must not know checkpoints or models.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "tensor/host_tensor.h"

namespace sheaf {

struct SafetensorsEntry {
    std::string name;
    DType dtype;
    Shape shape;
    uint64_t begin = 0, end = 0;  // bytes within the file
};

class SafetensorsFile {
  public:
    /// Maps and checks the file: header length, JSON, names (<= 512 bytes, no duplicates), rank <= 8, shape x
    /// dtype == bytes, no overlap, no hole, nothing past the end. Errors: not_found, io, corrupt_file naming
    /// file and tensor.
    static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return file_.path(); }
    const std::vector<SafetensorsEntry>& entries() const { return entries_; }
    const std::map<std::string, std::string>& metadata() const { return metadata_; }
    uint64_t size() const { return file_.bytes().size(); }
    /// A view of the map; hold the file while using it.
    Tensor tensor(const SafetensorsEntry& entry) const;

  private:
    explicit SafetensorsFile(const std::filesystem::path& path) : file_(path) {}
    void parse();

    MappedFile file_;
    std::vector<SafetensorsEntry> entries_;
    std::map<std::string, std::string> metadata_;
};

/// Writes tensors as they come: declare all first (the header stands in front), then the data in any order.
/// The file appears at commit(). Errors: io, invalid_input (a name twice).
class SafetensorsWriter {
  public:
    struct Declaration {
        std::string name;
        DType dtype;
        Shape shape;
    };
    SafetensorsWriter(const std::filesystem::path& path, const std::vector<Declaration>& tensors,
                      const std::map<std::string, std::string>& metadata = {});
    /// Writes part of a tensor: `size` bytes at `offset` within it.
    void write(const std::string& name, uint64_t offset, const void* data, size_t size);
    void commit();

  private:
    AtomicFile file_;
    std::map<std::string, std::pair<uint64_t, uint64_t>> place_;  // begin, bytes
};

}  // namespace sheaf
