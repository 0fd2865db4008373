// Files: read-only maps, whole small files, and files that appear under their final name only when complete.
// Used by checkpoints, tokenizers and every command that writes a result. Must not know formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace sheaf {

/// A read-only memory map of a whole file. A file cut short while mapped would raise SIGBUS;
/// install_sigbus_handler() turns that into a clean exit that names the file.
class MappedFile {
  public:
    /// Errors: not_found, io.
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&&) = delete;
    MappedFile(const MappedFile&) = delete;

    std::span<const std::byte> bytes() const { return {data_, size_}; }
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
    const std::byte* data_ = nullptr;
    size_t size_ = 0;
    int slot_ = -1;  // in the table that the SIGBUS handler reads
};

/// Copies bytes of a mapped file to `target` by reading the file: for large pieces quicker than page faults,
/// and safe where a file is cut short. False, and nothing done, where `source` lies in no map. The map must
/// live meanwhile. Errors: io.
bool read_mapped(const void* source, void* target, size_t size);

/// Ends the process with status 1 and the file's name when a mapped file is truncated under us. Call once
/// from main.
void install_sigbus_handler();

/// The text of a small file. Errors: not_found, io, invalid_input when larger than `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, size_t max_bytes = 256u << 20);

/// Writes to PATH.partial-<pid>; commit() flushes, syncs and renames. Without commit() nothing appears.
class AtomicFile {
  public:
    explicit AtomicFile(std::filesystem::path path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(const void* data, size_t size);  // appends
    void write(std::string_view text) { write(text.data(), text.size()); }
    void write_at(uint64_t offset, const void* data, size_t size);
    void commit();

  private:
    std::filesystem::path path_, temporary_;
    int descriptor_ = -1;
};

}  // namespace sheaf
