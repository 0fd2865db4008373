// Plain 16- and 32-bit weights: MODULE.weight (out, in), used as it lies in the map.
#include "weights/formats.h"

namespace sheaf {
namespace {

class DenseFormat final : public WeightFormat {
  public:
    explicit DenseFormat(DType dtype) : dtype_(dtype) {}

    std::string_view name() const override {
        return dtype_ == DType::bf16 ? "bf16" : dtype_ == DType::f16 ? "f16" : "f32";
    }

    bool accepts(const WeightSource& source, std::string_view module) const override {
        const auto* weight = source.find(tensor_name(module, "weight"));
        return weight && weight->dtype == dtype_;
    }

    HostLinear load(WeightSource& source, std::string_view module, int64_t out, int64_t in,
                    const QuantizationHints&) const override {
        HostLinear linear{out, in, {}, {}};
        const std::string name = tensor_name(module, "weight");
        linear.weight = DenseWeight{take_checked(source, name, Shape{out, in}, {dtype_})};
        linear.bias = take_bias(source, module, out);
        return linear;
    }

  private:
    DType dtype_;
};

}  // namespace

std::unique_ptr<WeightFormat> make_dense_format(DType dtype) {
    return std::make_unique<DenseFormat>(dtype);
}

}  // namespace sheaf
