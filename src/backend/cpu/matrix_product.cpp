#include "backend/cpu/matrix_product.h"

#include <algorithm>
#include <array>

#include "tensor/buffer.h"

namespace sheaf::cpu {

float* Scratch::floats(Slot slot, int64_t count) {
    thread_local std::array<Buffer, slots> buffers;
    Buffer& buffer = buffers[slot];
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    if (buffer.bytes() < bytes || !buffer.data()) buffer = Buffer::host(std::max(bytes, 2 * buffer.bytes()));
    return static_cast<float*>(buffer.data());
}

void make_ready(const Kernels& kernels, const PackedMatrix& w, const float* const* rows, int64_t begin,
                int64_t height, const ReadyRows& ready) {
    constexpr int64_t tallest = 64;
    const float* sources[tallest];
    for (int64_t r = 0; r < height; ++r) sources[r] = rows[begin + r];
    if (w.input_order) {
        float* gathered = Scratch::floats(Scratch::rows, height * w.in);
        for (int64_t r = 0; r < height; ++r) {
            float* target = gathered + r * w.in;
            for (int64_t p = 0; p < w.in; ++p) target[p] = sources[r][w.input_order[p]];
            sources[r] = target;
        }
    }
    if (w.has_zeros)
        for (int64_t r = 0; r < height; ++r)
            kernels.group_sums(sources[r], w.in, w.group, ready.sums + (begin + r) * w.groups());
    kernels.pack_block(sources, height, w.in, w.padded_in, ready.blocks + begin * w.padded_in);
}

void multiply_tiles(const Kernels& kernels, const PackedMatrix& w, const ReadyRows& ready, int64_t row,
                    int64_t rows, int64_t tile, int64_t count, float* y) {
    const int64_t width = count * PackedMatrix::tile_outputs;
    const float* sums = w.has_zeros ? ready.sums + row * w.groups() : nullptr;
    kernels.multiply(w, PackedRows{ready.blocks + row * w.padded_in, rows, w.padded_in, sums}, tile, count,
                     y);
    if (!w.bias) return;
    const float* bias = w.bias + tile * PackedMatrix::tile_outputs;
    for (int64_t r = 0; r < rows; ++r)
        kernels.binary(BinaryKind::add, y + r * width, bias, y + r * width, width);
}

}  // namespace sheaf::cpu
