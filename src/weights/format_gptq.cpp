// 4-bit integers as AutoGPTQ, GPTQModel and AutoRound (auto_round:auto_gptq) store them, K inputs, N outputs:
//   MODULE.qweight i32 (K / 8, N)       nibble j of word (r, n) is the code of input 8 r + j, output n
//   MODULE.qzeros  i32 (groups, N / 8)  nibble j of word (g, c) is the zero point of output 8 c + j; version
//   1 of
//                                       the format stores each word less 0x11111111: nibbles of zero points
//                                       minus 1, but a zero point of 0 borrows from the next nibble
//   MODULE.scales  f16, bf16 or f32 (groups, N), may be negative
//   MODULE.g_idx   i32 (K), optional    the group of an input
// This is the canonical form, so qweight stays a view of the map, unless g_idx reorders the inputs.
#include "weights/formats.h"

namespace sheaf {
namespace {

constexpr uint32_t one_per_nibble = 0x11111111;

// Whether every nibble of the zero points is `digit`.
bool all_nibbles(const HostTensor& words, int64_t out, uint32_t digit) {
    if (out % 8 == 0) return every_word(words, digit * one_per_nibble);
    for (int64_t g = 0; g < words.view.size(0); ++g) {
        const auto* row = static_cast<const uint32_t*>(words.view.raw()) + g * words.view.row_stride();
        for (int64_t n = 0; n < out; ++n)
            if ((row[n / 8] >> (4 * (n % 8)) & 15u) != digit) return false;
    }
    return true;
}

// What to add to a stored word of zero points. The config's word counts, but a symmetric tensor says itself
// which version it is: the zero point is 8, stored as 7 or as 8.
uint32_t zero_addend(std::string_view name, const HostTensor& words, int64_t out,
                     const QuantizationHints& hints) {
    static std::atomic<int> contradictions{0}, oddities{0};
    const uint32_t hinted = hints.zero_point_minus_one ? one_per_nibble : 0;
    if (!hints.symmetric) return hinted;
    const bool seven = all_nibbles(words, out, 7), eight = !seven && all_nibbles(words, out, 8);
    if (!seven && !eight) {
        warn_few(oddities,
                 fmt::format("{} holds zero points other than the symmetric one, though the config says "
                             "symmetric; they are used as stored",
                             name));
        return hinted;
    }
    const uint32_t stored = seven ? one_per_nibble : 0;
    if (stored != hinted)
        warn_few(contradictions,
                 fmt::format("{} stores the zero point as {}, so it is GPTQ version {}, not the one "
                             "that the config names; the tensor is believed",
                             name, seven ? 7 : 8, seven ? 1 : 2));
    return stored;
}

// Explains a qweight of the wrong shape.
[[noreturn]] void fail_qweight(const WeightSource& source, const std::string& name, const Shape& found,
                               int64_t out, int64_t in) {
    const Shape expected{in / 8, out};
    std::string_view advice;
    if (found == Shape{out, in / 8})
        advice = "it is transposed; the tool that wrote it must be fixed or updated";
    if (found.rank() == 2 && found[1] == out) {
        for (int bits : {2, 3, 5, 6, 7, 8})
            if (found[0] * 32 == in * bits)
                fail(ErrorKind::unsupported, "{} in {} holds {}-bit GPTQ integers; only 4 bits are supported",
                     name, source.where(name), bits);
    }
    fail_shape(source, name, expected.to_string(), advice);
}

class GptqFormat final : public WeightFormat {
  public:
    std::string_view name() const override { return "int4 gptq"; }

    bool accepts(const WeightSource& source, std::string_view module) const override {
        const auto* words = source.find(tensor_name(module, "qweight"));
        return words && words->shape.rank() == 2;
    }

    HostLinear load(WeightSource& source, std::string_view module, int64_t out, int64_t in,
                    const QuantizationHints& hints) const override {
        const std::string qweight = tensor_name(module, "qweight"), scales = tensor_name(module, "scales");
        check_bits(qweight, hints);
        if (in % 8 != 0) fail(ErrorKind::unsupported, "{}: {} inputs are not a multiple of 8", qweight, in);
        const auto* info = source.find(qweight);
        if (info && info->shape != Shape{in / 8, out}) fail_qweight(source, qweight, info->shape, out, in);

        Int4Weight weight;
        weight.codes = take_checked(source, qweight, Shape{in / 8, out}, {DType::i32, DType::u32});
        weight.codes.view = Tensor(weight.codes.view.raw(), DType::i32, Shape{in / 8, out});
        const auto* scales_info = source.find(scales);
        const int64_t groups = scales_info && scales_info->shape.rank() == 2 ? scales_info->shape[0] : 1;
        weight.scales = take_scales(source, scales, Shape{groups, out});
        weight.group_size = group_size_of(source, scales, groups, in, hints);

        const std::string qzeros = tensor_name(module, "qzeros");
        const HostTensor words =
            take_checked(source, qzeros, Shape{groups, (out + 7) / 8}, {DType::i32, DType::u32});
        weight.zeros = unpack_zeros(words, out, plain_order, zero_addend(qzeros, words, out, hints));

        weight.input_order =
            take_input_order(source, tensor_name(module, "g_idx"), in, groups, weight.group_size);
        if (weight.input_order.defined()) weight.codes = reorder_codes(weight.codes, weight.input_order);
        return {out, in, std::move(weight), take_bias(source, module, out)};
    }
};

}  // namespace

std::unique_ptr<WeightFormat> make_gptq_format() {
    return std::make_unique<GptqFormat>();
}

}  // namespace sheaf
