// 4-bit integers as compressed-tensors' pack-quantized format stores them, K inputs, N outputs. Codes are
// signed integers plus 8, zero points likewise:
//   MODULE.weight_packed     i32 (N, K / 8)            nibble j of word (n, r) is the code of input 8 r + j
//   MODULE.weight_scale      f16, bf16, f32 (N, groups)
//   MODULE.weight_shape      i64 (2), (N, K), optional
//   MODULE.weight_zero_point i32 (N / 8, groups) packed along N, or i8 (N, groups) unpacked and signed;
//   optional MODULE.weight_g_idx      i32 (K), the group of an input; optional
// Transposed into the canonical form.
#include "weights/formats.h"

namespace sheaf {
namespace {

constexpr int signed_offset = 8;

// (rows, columns) to (columns, rows), in tiles that stay in the cache.
template <class Word>
HostTensor transpose(const HostTensor& from, DType dtype) {
    constexpr int64_t tile = 32;
    const int64_t rows = from.view.size(0), columns = from.view.size(1);
    HostTensor result(dtype, Shape{columns, rows});
    const auto* source = static_cast<const Word*>(from.view.raw());
    auto* target = static_cast<Word*>(result.view.raw());
    for (int64_t r0 = 0; r0 < rows; r0 += tile)
        for (int64_t c0 = 0; c0 < columns; c0 += tile)
            for (int64_t c = c0; c < std::min(c0 + tile, columns); ++c)
                for (int64_t r = r0; r < std::min(r0 + tile, rows); ++r)
                    target[c * rows + r] = source[r * columns + c];
    return result;
}

HostTensor transpose_scales(const HostTensor& scales) {
    const DType dtype = scales.view.dtype();
    return dtype == DType::f32 ? transpose<uint32_t>(scales, dtype) : transpose<uint16_t>(scales, dtype);
}

HostTensor signed_zeros(const HostTensor& zeros, std::string_view name) {
    HostTensor result = transpose<uint8_t>(zeros, DType::u8);
    bool all_eight = true;
    auto* values = result.view.data<uint8_t>();
    for (int64_t i = 0; i < result.view.elements(); ++i) {
        const int value = static_cast<int8_t>(values[i]) + signed_offset;
        if (value < 0 || value > 15)
            fail(ErrorKind::corrupt_file, "{} holds the zero point {}, outside of -8 to 7", name,
                 value - signed_offset);
        values[i] = static_cast<uint8_t>(value);
        all_eight &= value == signed_offset;
    }
    return all_eight ? HostTensor{} : result;
}

HostTensor take_zeros(WeightSource& source, std::string_view module, int64_t out, int64_t groups) {
    const std::string name = tensor_name(module, "weight_zero_point");
    const auto* info = source.find(name);
    if (!info) return {};
    if (info->dtype == DType::i8)
        return signed_zeros(take_checked(source, name, Shape{out, groups}, {DType::i8}), name);
    const HostTensor packed = take_checked(source, name, Shape{(out + 7) / 8, groups}, {DType::i32});
    return unpack_zeros(transpose<uint32_t>(packed, DType::i32), out, plain_order, 0);
}

void check_stored_shape(WeightSource& source, std::string_view module, int64_t out, int64_t in) {
    const std::string name = tensor_name(module, "weight_shape");
    if (!source.has(name)) return;
    const HostTensor stored = take_checked(source, name, Shape{2}, {DType::i64, DType::i32});
    const auto at = [&](int i) {
        return stored.view.dtype() == DType::i64 ? stored.view.data<int64_t>()[i]
                                                 : int64_t{stored.view.data<int32_t>()[i]};
    };
    if (at(0) != out || at(1) != in)
        fail(ErrorKind::corrupt_file, "{} in {} says ({}, {}), expected ({}, {})", name, source.where(name),
             at(0), at(1), out, in);
}

class CompressedTensorsFormat final : public WeightFormat {
  public:
    std::string_view name() const override { return "int4 compressed-tensors"; }

    bool accepts(const WeightSource& source, std::string_view module) const override {
        const auto* words = source.find(tensor_name(module, "weight_packed"));
        return words && words->dtype == DType::i32;
    }

    HostLinear load(WeightSource& source, std::string_view module, int64_t out, int64_t in,
                    const QuantizationHints& hints) const override {
        const std::string packed = tensor_name(module, "weight_packed");
        const std::string scale = tensor_name(module, "weight_scale");
        check_bits(packed, hints);
        if (in % 8 != 0) fail(ErrorKind::unsupported, "{}: {} inputs are not a multiple of 8", packed, in);
        const auto* info = source.find(packed);
        for (int bits : {1, 2, 3, 5, 6, 7, 8})
            if (info && info->shape == Shape{out, (in * bits + 31) / 32})
                fail(ErrorKind::unsupported, "{} in {} holds {}-bit integers; only 4 bits are supported",
                     packed, source.where(packed), bits);

        Int4Weight weight;
        const HostTensor words = take_checked(source, packed, Shape{out, in / 8}, {DType::i32});
        const auto* scale_info = source.find(scale);
        const int64_t groups = scale_info && scale_info->shape.rank() == 2 ? scale_info->shape[1] : 1;
        weight.scales = transpose_scales(take_scales(source, scale, Shape{out, groups}));
        weight.group_size = group_size_of(source, scale, groups, in, hints);
        weight.zeros = take_zeros(source, module, out, groups);
        check_stored_shape(source, module, out, in);

        weight.codes = transpose<uint32_t>(words, DType::i32);
        weight.input_order =
            take_input_order(source, tensor_name(module, "weight_g_idx"), in, groups, weight.group_size);
        if (weight.input_order.defined()) weight.codes = reorder_codes(weight.codes, weight.input_order);
        return {out, in, std::move(weight), take_bias(source, module, out)};
    }
};

}  // namespace

std::unique_ptr<WeightFormat> make_compressed_tensors_format() {
    return std::make_unique<CompressedTensorsFormat>();
}

}  // namespace sheaf
