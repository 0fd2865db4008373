#include "base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace sheaf {
namespace {

namespace fs = std::filesystem;

// What the SIGBUS handler may read: plain memory, no locks.
struct MapSlot {
    std::atomic<const std::byte*> begin{nullptr};
    std::atomic<size_t> size{0};
    std::atomic<int> descriptor{-1};
    std::array<char, 512> name{};
};
std::array<MapSlot, 1024> map_slots;

int claim_slot(const std::byte* begin, size_t size, int descriptor, const std::string& name) {
    for (size_t i = 0; i < map_slots.size(); ++i) {
        const std::byte* expected = nullptr;
        if (!map_slots[i].begin.compare_exchange_strong(expected, begin)) continue;
        std::strncpy(map_slots[i].name.data(), name.c_str(), map_slots[i].name.size() - 1);
        map_slots[i].descriptor = descriptor;
        map_slots[i].size = size;
        return static_cast<int>(i);
    }
    return -1;
}

void on_sigbus(int, siginfo_t* info, void*) {
    const auto* address = static_cast<const std::byte*>(info->si_addr);
    auto say = [](const char* text) {
        [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, std::strlen(text));
    };
    for (auto& slot : map_slots) {
        const std::byte* begin = slot.begin;
        if (!begin || address < begin || address >= begin + slot.size) continue;
        say("sheaf: error: ");
        say(slot.name.data());
        say(" was cut short or became unreadable while in use; restore the file and start again\n");
        ::_exit(1);
    }
    ::signal(SIGBUS, SIG_DFL);
    ::raise(SIGBUS);
}

[[noreturn]] void fail_errno(const char* what, const fs::path& path, int error = errno) {
    const auto kind = error == ENOENT ? ErrorKind::not_found : ErrorKind::io;
    fail(kind, "cannot {} {}: {}", what, path.string(), std::strerror(error));
}

}  // namespace

void install_sigbus_handler() {
    struct sigaction action {};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGBUS, &action, nullptr);
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) fail_errno("open", path);
    struct stat status {};
    if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        ::close(descriptor);
        fail(ErrorKind::io, "{} is not a regular file", path.string());
    }
    size_ = static_cast<size_t>(status.st_size);
    if (size_ > 0) {
        void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (map == MAP_FAILED) {
            const int error = errno;
            ::close(descriptor);
            fail_errno("map", path, error);
        }
        data_ = static_cast<const std::byte*>(map);
        slot_ = claim_slot(data_, size_, descriptor, path.string());
    }
    if (slot_ < 0) ::close(descriptor);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(other.data_), size_(other.size_), slot_(other.slot_) {
    other.data_ = nullptr;
    other.slot_ = -1;
}

MappedFile::~MappedFile() {
    if (slot_ >= 0) {
        map_slots[slot_].size = 0;
        ::close(map_slots[slot_].descriptor);
        map_slots[slot_].begin = nullptr;
    }
    if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

namespace {

/// What the page cache has of it comes without waiting; the rest is asked for at once, in large requests,
/// before it is waited for.
void read_at(int descriptor, off_t offset, std::byte* to, size_t size, const char* name) {
    const iovec target{to, size};
    ssize_t count = ::preadv2(descriptor, &target, 1, offset, RWF_NOWAIT);
    bool asked = false;
    while (true) {
        if (count > 0) {
            to += count;
            offset += count;
            size -= static_cast<size_t>(count);
        }
        if (size == 0) return;
        if (!std::exchange(asked, true))
            ::posix_fadvise(descriptor, offset, static_cast<off_t>(size), POSIX_FADV_WILLNEED);
        count = ::pread(descriptor, to, size, offset);
        if (count < 0 && errno != EINTR) fail_errno("read", name);
        if (count == 0)
            fail(ErrorKind::io, "{} was cut short while in use; restore the file and start again", name);
    }
}

}  // namespace

bool read_mapped(const void* source, void* target, size_t size) {
    const auto* address = static_cast<const std::byte*>(source);
    for (const auto& slot : map_slots) {
        const std::byte* begin = slot.begin;
        if (!begin || address < begin || address >= begin + slot.size) continue;
        if (size > slot.size - static_cast<size_t>(address - begin)) return false;
        read_at(slot.descriptor, static_cast<off_t>(address - begin), static_cast<std::byte*>(target), size,
                slot.name.data());
        return true;
    }
    return false;
}

std::string read_text_file(const fs::path& path, size_t max_bytes) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) fail_errno("open", path);
    std::string text;
    std::array<char, 65536> chunk;
    while (true) {
        const ssize_t count = ::read(descriptor, chunk.data(), chunk.size());
        if (count < 0) {
            const int error = errno;
            if (error == EINTR) continue;
            ::close(descriptor);
            fail_errno("read", path, error);
        }
        if (count == 0) break;
        text.append(chunk.data(), static_cast<size_t>(count));
        if (text.size() > max_bytes) {
            ::close(descriptor);
            fail(ErrorKind::invalid_input, "{} is larger than {} bytes; is it the right file?", path.string(),
                 max_bytes);
        }
    }
    ::close(descriptor);
    return text;
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
    temporary_ = path_;
    temporary_ += fmt::format(".partial-{}", ::getpid());
    descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) fail_errno("create", temporary_);
}

AtomicFile::~AtomicFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t size) {
    const auto* bytes = static_cast<const char*>(data);
    while (size > 0) {
        const ssize_t count = ::write(descriptor_, bytes, size);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail_errno("write", temporary_);
        bytes += count;
        size -= static_cast<size_t>(count);
    }
}

void AtomicFile::write_at(uint64_t offset, const void* data, size_t size) {
    const auto* bytes = static_cast<const char*>(data);
    while (size > 0) {
        const ssize_t count = ::pwrite(descriptor_, bytes, size, static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail_errno("write", temporary_);
        bytes += count;
        offset += static_cast<uint64_t>(count);
        size -= static_cast<size_t>(count);
    }
}

void AtomicFile::commit() {
    if (::fsync(descriptor_) != 0) fail_errno("sync", temporary_);
    ::close(descriptor_);
    descriptor_ = -1;
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
        const int error = errno;
        ::unlink(temporary_.c_str());
        fail_errno("create", path_, error);
    }
    const fs::path folder = path_.has_parent_path() ? path_.parent_path() : fs::path(".");
    const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
        ::fsync(directory);
        ::close(directory);
    }
}

}  // namespace sheaf
