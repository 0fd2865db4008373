#include "backend/cpu/pack.h"

#include <algorithm>
#include <cstring>

namespace sheaf::cpu {
namespace {

constexpr int64_t lanes = PackedMatrix::tile_outputs;
constexpr int64_t float_group = 128;  // inputs summed before they join the total

int64_t round_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

int64_t inputs_per_word(NumberFormat format) {
    switch (format) {
        case NumberFormat::f32:
            return 1;
        case NumberFormat::bf16:
            return 2;
        case NumberFormat::fp8:
            return 4;
        case NumberFormat::int4:
            return 8;
    }
    return 1;
}

int64_t scale_bytes(ScaleFormat scale) {
    return scale == ScaleFormat::none ? 0 : scale == ScaleFormat::f32 ? 4 : 2;
}

ScaleFormat scale_format(DType dtype) {
    switch (dtype) {
        case DType::f32:
            return ScaleFormat::f32;
        case DType::bf16:
            return ScaleFormat::bf16;
        case DType::f16:
            return ScaleFormat::f16;
        default:
            fail(ErrorKind::unsupported, "quantization scales of type {}", dtype_name(dtype));
    }
}

bool all_eight(const HostTensor& zeros) {
    const Tensor& view = zeros.view;
    for (int64_t g = 0; g < view.size(0); ++g) {
        const uint8_t* row = view.row<uint8_t>(g);
        if (!std::all_of(row, row + view.size(1), [](uint8_t zero) { return zero == 8; })) return false;
    }
    return true;
}

void plan_numbers(const DenseWeight& weight, ComputeType compute, PackedMatrix& plan) {
    const bool narrow = weight.values.view.dtype() == DType::bf16 || compute == ComputeType::bf16;
    plan.format = narrow ? NumberFormat::bf16 : NumberFormat::f32;
    plan.group = float_group;
}

void plan_numbers(const Int4Weight& weight, ComputeType, PackedMatrix& plan) {
    plan.group = std::min(weight.group_size, plan.in);
    if (plan.in % 8 != 0 || plan.group % 8 != 0) {  // no whole words: kept as floats
        plan.format = NumberFormat::f32;
        plan.group = float_group;
        return;
    }
    plan.format = NumberFormat::int4;
    plan.scale = scale_format(weight.scales.view.dtype());
    plan.has_zeros = weight.zeros.defined() && !all_eight(weight.zeros);
}

void plan_numbers(const Fp8Weight& weight, ComputeType, PackedMatrix& plan) {
    plan.group = std::min(weight.block_columns, round_up(plan.in, 4));
    plan.format = plan.group % 4 == 0 ? NumberFormat::fp8 : NumberFormat::f32;
    plan.scale = plan.format == NumberFormat::fp8 ? ScaleFormat::f32 : ScaleFormat::none;
    if (plan.format == NumberFormat::f32) plan.group = float_group;
}

const HostTensor* kept_input_order(const PackedMatrix& plan, const HostLinear& linear) {
    const auto* int4 = std::get_if<Int4Weight>(&linear.weight);
    return int4 && plan.format == NumberFormat::int4 && int4->input_order.defined() ? &int4->input_order
                                                                                    : nullptr;
}

float float_at(const Tensor& tensor, int64_t row, int64_t column) {
    const int64_t index = row * tensor.row_stride() + column;
    switch (tensor.dtype()) {
        case DType::f32:
            return tensor.data<float>()[index];
        case DType::bf16:
            return static_cast<float>(tensor.data<bfloat16>()[index]);
        case DType::f16:
            return static_cast<float>(tensor.data<float16>()[index]);
        default:
            fail(ErrorKind::unsupported, "weights of type {}", dtype_name(tensor.dtype()));
    }
}

/// One tile's job: which outputs of the weight its lanes hold (-1: padding), and where it goes.
struct Tile {
    const PackedMatrix& plan;
    int64_t output[lanes];
    uint8_t* memory;
};

uint16_t bf16_bits(const Tensor& values, int64_t n, int64_t k) {
    if (values.dtype() == DType::bf16) return values.data<bfloat16>()[n * values.row_stride() + k].bits;
    return bfloat16(float_at(values, n, k)).bits;
}

void pack_tile(const DenseWeight& weight, const Tile& tile) {
    const Tensor& values = weight.values.view;
    const int64_t in = tile.plan.in;
    for (int64_t lane = 0; lane < lanes; ++lane) {
        const int64_t n = tile.output[lane];
        if (n < 0) continue;  // memory is zero already
        if (tile.plan.format == NumberFormat::bf16) {
            auto* words = reinterpret_cast<uint16_t*>(tile.memory) + 2 * lane;
            for (int64_t k = 0; k < in; ++k) words[k / 2 * 2 * lanes + k % 2] = bf16_bits(values, n, k);
        } else {
            auto* words = reinterpret_cast<float*>(tile.memory) + lane;
            for (int64_t k = 0; k < in; ++k) words[k * lanes] = float_at(values, n, k);
        }
    }
}

/// The common case, a whole tile of bf16 rows, reads and writes whole words.
bool pack_bf16_tile(const DenseWeight& weight, const Tile& tile) {
    const Tensor& values = weight.values.view;
    if (values.dtype() != DType::bf16 || tile.output[lanes - 1] < 0 || tile.plan.in % 2 != 0) return false;
    const char* row[lanes];
    for (int64_t lane = 0; lane < lanes; ++lane)
        row[lane] = reinterpret_cast<const char*>(values.row<bfloat16>(tile.output[lane]));
    auto* words = reinterpret_cast<uint32_t*>(tile.memory);
    for (int64_t k = 0; k < tile.plan.in / 2; ++k)
        for (int64_t lane = 0; lane < lanes; ++lane)
            std::memcpy(words + k * lanes + lane, row[lane] + k * 4, 4);
    return true;
}

void pack_tile(const Int4Weight& weight, const Tile& tile) {
    auto* words = reinterpret_cast<uint32_t*>(tile.memory);
    const int64_t octets = tile.plan.in / 8, groups = tile.plan.groups();
    for (int64_t r = 0; r < octets; ++r) {
        const int32_t* source = weight.codes.view.row<int32_t>(r);
        for (int64_t lane = 0; lane < lanes; ++lane) {
            const int64_t n = tile.output[lane];
            words[r * lanes + lane] = n < 0 ? 0x88888888u : static_cast<uint32_t>(source[n]);
        }
    }
    const size_t size = static_cast<size_t>(scale_bytes(tile.plan.scale));
    for (int64_t g = 0; g < groups; ++g)
        for (int64_t lane = 0; lane < lanes; ++lane) {
            const int64_t n = tile.output[lane];
            uint8_t* zero = tile.memory + tile.plan.zero_offset + g * lanes + lane;
            if (tile.plan.has_zeros) *zero = n < 0 ? 8 : weight.zeros.view.row<uint8_t>(g)[n];
            if (n < 0) continue;
            const Tensor& scales = weight.scales.view;
            const auto* source = static_cast<const char*>(scales.raw()) +
                                 static_cast<size_t>(g * scales.row_stride() + n) * size;
            std::memcpy(tile.memory + tile.plan.scale_offset + static_cast<size_t>(g * lanes + lane) * size,
                        source, size);
        }
}

void pack_tile(const Fp8Weight& weight, const Tile& tile) {
    const Tensor &values = weight.values.view, &scales = weight.scales.view;
    auto* numbers = static_cast<const uint8_t*>(values.raw());
    auto* packed_scales = reinterpret_cast<float*>(tile.memory + tile.plan.scale_offset);
    for (int64_t lane = 0; lane < lanes; ++lane) {
        const int64_t n = tile.output[lane];
        if (n < 0) continue;
        const uint8_t* row = numbers + n * values.row_stride();
        for (int64_t k = 0; k < tile.plan.in; ++k) {
            if ((row[k] & 0x7fu) == 0x7fu)
                fail(ErrorKind::corrupt_file, "an FP8 weight is not a number (row {}, column {})", n, k);
            tile.memory[k / 4 * 4 * lanes + 4 * lane + k % 4] = row[k];
        }
        for (int64_t g = 0; g < tile.plan.groups(); ++g)  // 2^8: see Fp8Decoder
            packed_scales[g * lanes + lane] = 256.0f * float_at(scales, n / weight.block_rows, g);
    }
}

void pack_numbers(const HostLinear& linear, const Tile& tile) {
    if (const auto* dense = std::get_if<DenseWeight>(&linear.weight)) {
        if (tile.plan.format == NumberFormat::bf16 && pack_bf16_tile(*dense, tile)) return;
        return pack_tile(*dense, tile);
    }
    if (const auto* int4 = std::get_if<Int4Weight>(&linear.weight)) return pack_tile(*int4, tile);
    pack_tile(std::get<Fp8Weight>(linear.weight), tile);
}

}  // namespace

PackedMatrix plan_packing(const HostLinear& linear, ComputeType compute) {
    PackedMatrix plan;
    plan.out = linear.out;
    plan.in = linear.in;
    std::visit([&](const auto& weight) { plan_numbers(weight, compute, plan); }, linear.weight);
    const int64_t per_word = inputs_per_word(plan.format);
    plan.padded_in = round_up(plan.in, per_word);
    plan.scale_offset = plan.padded_in / per_word * 64;
    plan.zero_offset = plan.scale_offset + plan.groups() * lanes * scale_bytes(plan.scale);
    plan.tile_bytes = round_up(plan.zero_offset + (plan.has_zeros ? plan.groups() * lanes : 0), 64);
    return plan;
}

size_t packed_bytes(const PackedMatrix& plan, const HostLinear& linear) {
    int64_t bytes = plan.tiles() * plan.tile_bytes;
    if (linear.bias.defined()) bytes += plan.tiles() * lanes * 4;
    if (kept_input_order(plan, linear)) bytes += round_up(plan.in * 4, 64);
    return static_cast<size_t>(bytes);
}

PackedMatrix pack(const HostLinear& linear, PackedMatrix plan, uint8_t* memory, const ForEach& for_each,
                  const int32_t* output_order) {
    const bool fallback =
        plan.format == NumberFormat::f32 && !std::holds_alternative<DenseWeight>(linear.weight);
    HostLinear floats;
    if (fallback) floats = {linear.out, linear.in, DenseWeight{dequantize(linear)}, linear.bias};
    const HostLinear& source = fallback ? floats : linear;
    auto original = [&](int64_t n) { return n >= plan.out ? -1 : output_order ? output_order[n] : n; };

    plan.data = memory;
    for_each(plan.tiles(), [&](int64_t t) {
        Tile tile{plan, {}, memory + t * plan.tile_bytes};
        for (int64_t lane = 0; lane < lanes; ++lane) tile.output[lane] = original(t * lanes + lane);
        pack_numbers(source, tile);
    });
    uint8_t* rest = memory + plan.tiles() * plan.tile_bytes;
    if (linear.bias.defined()) {
        auto* bias = reinterpret_cast<float*>(rest);
        const Tensor row = linear.bias.view.view(Shape{1, plan.out});
        for (int64_t n = 0; n < plan.out; ++n) bias[n] = float_at(row, 0, original(n));
        plan.bias = bias;
        rest += plan.tiles() * lanes * 4;
    }
    if (const HostTensor* order = kept_input_order(plan, linear)) {
        std::memcpy(rest, order->view.data<int32_t>(), static_cast<size_t>(plan.in) * 4);
        plan.input_order = reinterpret_cast<const int32_t*>(rest);
    }
    return plan;
}

}  // namespace sheaf::cpu
