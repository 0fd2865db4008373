#include "backend/cpu/matrix_product.h"

#include <algorithm>
#include <array>

#include "tensor/buffer.h"

namespace sheaf::cpu {
namespace {

constexpr int64_t tallest_block = 16;

}  // namespace

float* Scratch::floats(Slot slot, int64_t count) {
    thread_local std::array<Buffer, slots> buffers;
    Buffer& buffer = buffers[slot];
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    if (buffer.bytes() < bytes || !buffer.data()) buffer = Buffer::host(std::max(bytes, 2 * buffer.bytes()));
    return static_cast<float*>(buffer.data());
}

RowLayout row_layout(const Kernels& kernels, const PackedMatrix& w, int64_t rows) {
    RowLayout layout{kernels.row_form(w), rows, kernels.row_block, w.padded_in, 0};
    if (layout.form == RowForm::bf16) {  // as few blocks as possible, and then as low as possible
        const int64_t blocks = std::max<int64_t>(1, (rows + tallest_block - 1) / tallest_block);
        layout.height = std::max<int64_t>(1, (rows + blocks - 1) / blocks);
        layout.row_floats = w.k_blocks() * k_block / 2;
    } else if (w.has_zeros) {
        layout.sum_floats = rows * w.groups();
    }
    return layout;
}

bool same_rows(const Kernels& kernels, const PackedMatrix& a, const PackedMatrix& b) {
    if (kernels.row_form(a) != kernels.row_form(b) || a.padded_in != b.padded_in) return false;
    if (kernels.row_form(a) == RowForm::floats) return !a.has_zeros && !b.has_zeros;
    return a.in == b.in && (a.group == b.group || (a.group % k_block == 0 && b.group % k_block == 0));
}

void make_ready(const Kernels& kernels, const PackedMatrix& w, const float* const* rows, int64_t begin,
                const ReadyRows& ready) {
    const float* sources[tallest_block];
    const int64_t height = std::min(ready.layout.height, ready.layout.rows - begin);
    for (int64_t r = 0; r < height; ++r) sources[r] = rows[begin + r];
    if (w.input_order) {
        float* gathered = Scratch::floats(Scratch::rows, height * w.in);
        for (int64_t r = 0; r < height; ++r) {
            float* target = gathered + r * w.in;
            for (int64_t p = 0; p < w.in; ++p) target[p] = sources[r][w.input_order[p]];
            sources[r] = target;
        }
    }
    float* block = ready.block(begin);
    if (ready.layout.form == RowForm::bf16)
        return kernels.pack_bf16(w, sources, height, ready.layout.height, 0, w.in,
                                 reinterpret_cast<uint16_t*>(block));
    if (w.has_zeros)
        for (int64_t r = 0; r < height; ++r)
            kernels.group_sums(sources[r], w.in, w.group, ready.sums + (begin + r) * w.groups());
    kernels.pack_block(sources, height, w.in, w.padded_in, block);
}

void multiply_tiles(const Kernels& kernels, const PackedMatrix& w, const ReadyRows& ready, int64_t row,
                    int64_t rows, int64_t tile, int64_t count, float* y) {
    const int64_t width = count * PackedMatrix::tile_outputs;
    const RowLayout& layout = ready.layout;
    const float* sums = layout.sum_floats > 0 ? ready.sums + row * w.groups() : nullptr;
    const PackedRows packed{ready.block(row), layout.form, rows, layout.height, w.padded_in, sums};
    kernels.multiply(w, packed, tile, count, y);
    if (!w.bias) return;
    const float* bias = w.bias + tile * PackedMatrix::tile_outputs;
    for (int64_t r = 0; r < rows; ++r)
        kernels.binary(BinaryKind::add, y + r * width, bias, y + r * width, width);
}

}  // namespace sheaf::cpu
