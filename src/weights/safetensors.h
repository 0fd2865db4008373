// One safetensors file: reading through a map with every check on its header before a byte is believed, and
// writing. Used by Checkpoint and by commands that write tensors. Must not know checkpoints or models.
#pragma once

#include <atomic>
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

class SafetensorsFile : public std::enable_shared_from_this<SafetensorsFile> {
  public:
    /// Maps and checks the file: header length (<= 100,000,000 bytes), JSON, names (1 to 512 bytes, no
    /// control characters, no duplicates, <= 1,000,000), rank <= 8, shape x dtype == bytes, no overlap, no
    /// hole, nothing past the end. Errors: not_found, io, corrupt_file naming file and tensor, unsupported
    /// for an element type we do not know.
    static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return file_.path(); }
    /// In the order in which they lie in the file.
    const std::vector<SafetensorsEntry>& entries() const { return entries_; }
    const std::map<std::string, std::string>& metadata() const { return metadata_; }
    uint64_t size() const { return file_.bytes().size(); }
    /// The numbers, keeping the map alive: a view of it, or a copy where the file does not align them to
    /// their element size.
    HostTensor tensor(const SafetensorsEntry& entry) const;

  private:
    explicit SafetensorsFile(const std::filesystem::path& path) : file_(path) {}
    void parse();

    MappedFile file_;
    std::vector<SafetensorsEntry> entries_;
    std::map<std::string, std::string> metadata_;
};

/// Writes tensors as they come: declare all first (the header stands in front), then the data in any order
/// and from any thread. Wider elements lie first, so that every tensor is aligned. The file appears at
/// commit(), which insists that every byte was written. Errors: io, invalid_input (a name twice or too long).
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
    struct Place {
        uint64_t begin = 0, bytes = 0;
        std::atomic<uint64_t> written{0};
    };
    AtomicFile file_;
    std::map<std::string, Place> places_;
};

}  // namespace sheaf
