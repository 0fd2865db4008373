// 4-bit integers as AWQ ("gemm") and auto_round:auto_awq store them, K inputs, N outputs, packed along N:
//   MODULE.qweight i32 (K, N / 8)       nibble s of word (k, c) is the code of output 8 c +
//   {0,2,4,6,1,3,5,7}[s] MODULE.qzeros  i32 (groups, N / 8)  the same order, zero points as they are
//   MODULE.scales  f16, bf16 or f32 (groups, N)
// Repacked: eight words of consecutive inputs are an 8 x 8 matrix of nibbles, which is transposed.
#include "weights/formats.h"

namespace sheaf {
namespace {

// word[i] nibble j <-> word[j] nibble i: halves, quarters, eighths are exchanged across the diagonal.
void transpose_nibbles(std::array<uint32_t, 8>& words) {
    constexpr std::array<uint32_t, 3> masks{0x0000ffffu, 0x00ff00ffu, 0x0f0f0f0fu};
    for (size_t stage = 0, distance = 4; distance > 0; ++stage, distance /= 2) {
        const size_t shift = 4 * distance;
        for (size_t i = 0; i < 8; ++i) {
            if (i & distance) continue;
            const uint32_t swap = (words[i] >> shift ^ words[i + distance]) & masks[stage];
            words[i] ^= swap << shift;
            words[i + distance] ^= swap;
        }
    }
}

HostTensor repack(const HostTensor& packed, int64_t out, int64_t in) {
    HostTensor codes(DType::i32, Shape{in / 8, out});
    for (int64_t r = 0; r < in / 8; ++r) {
        auto* target = static_cast<uint32_t*>(codes.view.raw()) + r * out;
        const auto* source = static_cast<const uint32_t*>(packed.view.raw()) + r * out;  // 8 rows of out / 8
        for (int64_t c = 0; c < out / 8; ++c) {
            std::array<uint32_t, 8> words;
            for (size_t j = 0; j < 8; ++j) words[j] = source[static_cast<int64_t>(j) * (out / 8) + c];
            transpose_nibbles(words);
            for (size_t s = 0; s < 8; ++s) target[8 * c + awq_order[s]] = words[s];
        }
    }
    return codes;
}

class AwqFormat final : public WeightFormat {
  public:
    std::string_view name() const override { return "int4 awq"; }

    /// Told from GPTQ by the shape: here the words lie along the outputs.
    bool accepts(const WeightSource& source, std::string_view module) const override {
        const auto* words = source.find(tensor_name(module, "qweight"));
        const auto* scales = source.find(tensor_name(module, "scales"));
        return words && scales && words->shape.rank() == 2 && scales->shape.rank() == 2 &&
               words->shape[1] != scales->shape[1] && words->shape[1] == scales->shape[1] / 8;
    }

    HostLinear load(WeightSource& source, std::string_view module, int64_t out, int64_t in,
                    const QuantizationHints& hints) const override {
        const std::string qweight = tensor_name(module, "qweight"), scales = tensor_name(module, "scales");
        const bool gptq = hints.method == "gptq" || hints.packing.find("gptq") != std::string::npos;
        const auto* info = source.find(qweight);
        if (gptq && info)  // a transposed square GPTQ matrix has the shape of an AWQ one
            fail_shape(source, qweight, Shape{in / 8, out}.to_string(),
                       "it is transposed, or packed as AWQ though the config says GPTQ");
        check_bits(qweight, hints);
        if (in % 8 != 0 || out % 8 != 0)
            fail(ErrorKind::unsupported, "{}: {} outputs, {} inputs; both must be multiples of 8", qweight,
                 out, in);
        const HostTensor packed = take_checked(source, qweight, Shape{in, out / 8}, {DType::i32, DType::u32});
        const auto* scales_info = source.find(scales);
        const int64_t groups = scales_info && scales_info->shape.rank() == 2 ? scales_info->shape[0] : 1;

        Int4Weight weight;
        weight.scales = take_scales(source, scales, Shape{groups, out});
        weight.group_size = group_size_of(source, scales, groups, in, hints);
        const HostTensor words = take_checked(source, tensor_name(module, "qzeros"), Shape{groups, out / 8},
                                              {DType::i32, DType::u32});
        weight.zeros = unpack_zeros(words, out, awq_order, 0);
        weight.codes = repack(packed, out, in);
        return {out, in, std::move(weight), take_bias(source, module, out)};
    }
};

}  // namespace

std::unique_ptr<WeightFormat> make_awq_format() {
    return std::make_unique<AwqFormat>();
}

}  // namespace sheaf
