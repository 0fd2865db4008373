#include "tensor/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace sheaf {
namespace {

constexpr size_t alignment = 64;
constexpr size_t huge_page = 2u << 20;
constexpr size_t arena_block = 4u << 20, largest_arena_block = 256u << 20;

size_t round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

Buffer Buffer::host(size_t bytes) {
    const size_t size = round_up(std::max<size_t>(bytes, 1), alignment);
    if (size >= huge_page) {  // fresh anonymous pages are zero already
        void* map =
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED) fail(ErrorKind::out_of_memory, "cannot allocate {:.1f} MiB", size / 1048576.0);
        ::madvise(map, size, MADV_HUGEPAGE);
        return Buffer(map, bytes, [size](void* data) { ::munmap(data, size); });
    }
    void* data = std::aligned_alloc(alignment, size);
    if (!data) fail(ErrorKind::out_of_memory, "cannot allocate {} bytes", size);
    std::memset(data, 0, size);
    return Buffer(data, bytes, [](void* memory) { std::free(memory); });
}

Buffer::Buffer(void* data, size_t bytes, std::function<void(void*)> release)
    : data_(data, std::move(release)), bytes_(bytes) {}

Tensor Buffer::tensor(DType dtype, Shape shape, size_t offset) const {
    SHEAF_CHECK(offset + static_cast<size_t>(shape.elements()) * dtype_size(dtype) <= bytes_,
                "{} at {} of {} bytes", shape.to_string(), offset, bytes_);
    return Tensor(static_cast<char*>(data()) + offset, dtype, shape);
}

Tensor Arena::make(DType dtype, Shape shape) {
    const size_t bytes = round_up(static_cast<size_t>(shape.elements()) * dtype_size(dtype), alignment);
    Area& area = areas_[current_];
    while (area.block < area.blocks.size() && area.offset + bytes > area.blocks[area.block].bytes()) {
        ++area.block;
        area.offset = 0;
    }
    if (area.block == area.blocks.size()) {
        const size_t previous = area.blocks.empty() ? 0 : area.blocks.back().bytes();
        area.blocks.push_back(allocate_(std::max({bytes, arena_block, std::min(2 * previous, largest_arena_block)})));
        area.offset = 0;
    }
    Tensor tensor(static_cast<char*>(area.blocks[area.block].data()) + area.offset, dtype, shape);
    area.offset += bytes;
    return tensor;
}

void Arena::flip() {
    current_ = current_ == 0 ? 1 : 0;
    areas_[current_].block = 0;
    areas_[current_].offset = 0;
}

void Arena::reset() {
    current_ = whole_step;
    for (Area& area : areas_) area.block = area.offset = 0;
}

size_t Arena::bytes_reserved() const {
    size_t bytes = 0;
    for (const Area& area : areas_)
        for (const Buffer& block : area.blocks) bytes += block.bytes();
    return bytes;
}

}  // namespace sheaf
