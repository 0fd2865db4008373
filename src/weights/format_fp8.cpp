// FP8 E4M3 weights with multipliers, as the official FP8 releases store them:
//   MODULE.weight           f8_e4m3 (out, in)
//   MODULE.weight_scale_inv bf16, f16 or f32 (ceil(out / 128), ceil(in / 128)): a multiplier, despite its
//   name
// or MODULE.weight_scale with one value for the whole matrix or one per output. Activations are not quantized
// here, so an input_scale is of no use.
#include "weights/formats.h"

namespace sheaf {
namespace {

int64_t blocks(int64_t size, int64_t block) {
    return (size + block - 1) / block;
}

HostTensor to_float(const HostTensor& scales) {
    if (scales.view.dtype() != DType::f16) return scales;
    HostTensor result(DType::f32, scales.view.shape());
    for (int64_t i = 0; i < scales.view.elements(); ++i)
        result.view.data<float>()[i] = static_cast<float>(scales.view.data<float16>()[i]);
    return result;
}

class Fp8Format final : public WeightFormat {
  public:
    std::string_view name() const override { return "fp8"; }

    bool accepts(const WeightSource& source, std::string_view module) const override {
        const auto* weight = source.find(tensor_name(module, "weight"));
        return weight && weight->dtype == DType::f8_e4m3;
    }

    HostLinear load(WeightSource& source, std::string_view module, int64_t out, int64_t in,
                    const QuantizationHints& hints) const override {
        Fp8Weight weight;
        weight.values = take_checked(source, tensor_name(module, "weight"), Shape{out, in}, {DType::f8_e4m3});
        const std::string inverse = tensor_name(module, "weight_scale_inv");
        const std::string scale = source.has(inverse) ? inverse : tensor_name(module, "weight_scale");
        const auto* info = source.find(scale);
        if (!info) fail(ErrorKind::corrupt_file, "{} is missing in {}", inverse, source.where(inverse));

        const int64_t rows = hints.fp8_block_rows, columns = hints.fp8_block_columns;
        SHEAF_CHECK(rows > 0 && columns > 0, "blocks of {} x {}", rows, columns);
        const Shape by_block{blocks(out, rows), blocks(in, columns)};
        if (info->shape == by_block) {
            weight.block_rows = rows;
            weight.block_columns = columns;
        } else if (info->shape.elements() == 1) {
            weight.block_rows = out;
            weight.block_columns = in;
        } else if (info->shape == Shape{out} || info->shape == Shape{out, 1}) {
            weight.block_rows = 1;
            weight.block_columns = in;
        } else {
            fail_shape(source, scale, by_block.to_string(),
                       fmt::format("one multiplier per block of {} x {}", rows, columns));
        }
        weight.scales = to_float(take_scales(source, scale, info->shape));
        weight.scales.view =
            weight.scales.view.view(Shape{blocks(out, weight.block_rows), blocks(in, weight.block_columns)});
        source.skip(tensor_name(module, "input_scale"));
        return {out, in, std::move(weight), take_bias(source, module, out)};
    }
};

}  // namespace

std::unique_ptr<WeightFormat> make_fp8_format() {
    return std::make_unique<Fp8Format>();
}

}  // namespace sheaf
