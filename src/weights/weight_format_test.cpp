// FP8 and plain weights, the choice of a format, refused layouts, and slices.
#include "weights/weight_format.h"

#include <cmath>

#include "weights/testing_int4.h"

namespace sheaf {
namespace {

using testing::add_gptq;
using testing::expect_error;
using testing::hints_of;
using testing::int4;
using testing::MemorySource;
using testing::module;
using testing::Truth;
using testing::with_act_order;

// FP8 E4M3 by its definition: sign, 4 bits of exponent (bias 7), 3 of mantissa.
float fp8_value(uint8_t bits) {
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                          : std::ldexp(1.0f + static_cast<float>(mantissa) / 8, exponent - 7);
    return bits & 0x80 ? -magnitude : magnitude;
}

struct Fp8Case {
    std::string suffix;
    Shape scale_shape;
    int64_t block_rows, block_columns;
};

TEST(Fp8, BlocksChannelsAndOneScale) {
    const int64_t out = 200, in = 300;
    std::vector<uint8_t> bytes;
    for (int64_t i = 0; i < out * in; ++i)
        bytes.push_back(static_cast<uint8_t>(i % 127 | (i % 3 ? 0x80 : 0)));
    for (const Fp8Case& c :
         {Fp8Case{"weight_scale_inv", Shape{2, 3}, 128, 128}, Fp8Case{"weight_scale", Shape{200, 1}, 1, 300},
          Fp8Case{"weight_scale", Shape{200}, 1, 300}, Fp8Case{"weight_scale", Shape{}, 200, 300},
          Fp8Case{"weight_scale", Shape{1}, 200, 300}}) {
        for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
            SCOPED_TRACE(c.scale_shape.to_string());
            std::vector<float> scales;
            for (int64_t i = 0; i < c.scale_shape.elements(); ++i)
                scales.push_back(0.25f + static_cast<float>(i) / 128);
            MemorySource source;
            source.add(module + ".weight", DType::f8_e4m3, Shape{out, in}, bytes);
            if (dtype == DType::f32) {
                source.add(module + "." + c.suffix, dtype, c.scale_shape, scales);
            } else if (dtype == DType::f16) {
                source.add(module + "." + c.suffix, dtype, c.scale_shape,
                           std::vector<float16>(scales.begin(), scales.end()));
            } else {
                std::vector<bfloat16> rounded(scales.begin(), scales.end());
                source.add(module + "." + c.suffix, dtype, c.scale_shape, rounded);
                for (size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<float>(rounded[i]);
            }
            source.add(module + ".input_scale", DType::f32, Shape{}, std::vector<float>{1});
            EXPECT_EQ(find_weight_format(source, module)->name(), "fp8");
            const HostLinear linear = load_linear(source, module, out, in, {});
            EXPECT_TRUE(source.unused().empty());
            const HostTensor values = dequantize(linear);
            const int64_t columns = (in + c.block_columns - 1) / c.block_columns;
            for (int64_t n = 0; n < out; ++n)
                for (int64_t k = 0; k < in; ++k)
                    ASSERT_EQ(
                        values.view.row<float>(n)[k],
                        fp8_value(bytes[static_cast<size_t>(n * in + k)]) *
                            scales[static_cast<size_t>(n / c.block_rows * columns + k / c.block_columns)])
                        << n << ", " << k;
        }
    }
}

TEST(Fp8, Refusals) {
    MemorySource source;
    source.add(module + ".weight", DType::f8_e4m3, Shape{16, 16}, std::vector<uint8_t>(256));
    const auto load = [&] { load_linear(source, module, 16, 16, {}); };
    expect_error(ErrorKind::corrupt_file, {module + ".weight_scale_inv", "missing"}, load);
    source.add(module + ".weight_scale_inv", DType::f32, Shape{2, 3}, std::vector<float>(6));
    expect_error(ErrorKind::corrupt_file, {module + ".weight_scale_inv", "(2, 3), expected (1, 1)"}, load);
    source.add(module + ".weight_scale_inv", DType::f32, Shape{1, 1}, std::vector<float>{INFINITY});
    expect_error(ErrorKind::corrupt_file, {module + ".weight_scale_inv", "infinite"}, load);
    source.add(module + ".weight", DType::f8_e5m2, Shape{16, 16}, std::vector<uint8_t>(256));
    expect_error(ErrorKind::unsupported, {module + ".weight", "F8_E5M2"}, load);
}

TEST(Dense, EveryFloatType) {
    const std::vector<float> values{1, -2, 3.5f, 0.25f, 5, 6};
    MemorySource source;
    const auto check = [&](std::string_view name) {
        EXPECT_EQ(find_weight_format(source, module)->name(), name);
        const HostLinear linear = load_linear(source, module, 2, 3, {});
        EXPECT_EQ(std::get<DenseWeight>(linear.weight).values.view.raw(),
                  source.at(module + ".weight").view.raw());
        const HostTensor result = dequantize(linear);
        EXPECT_EQ(std::vector<float>(result.view.data<float>(), result.view.data<float>() + 6), values);
    };
    source.add(module + ".weight", DType::f32, Shape{2, 3}, values);
    check("f32");
    source.add(module + ".weight", DType::f16, Shape{2, 3},
               std::vector<float16>(values.begin(), values.end()));
    check("f16");
    source.add(module + ".weight", DType::bf16, Shape{2, 3},
               std::vector<bfloat16>(values.begin(), values.end()));
    check("bf16");
    expect_error(ErrorKind::corrupt_file, {module + ".weight", "(2, 3), expected (3, 2)"},
                 [&] { load_linear(source, module, 3, 2, {}); });
}

TEST(WeightFormat, NothingThere) {
    MemorySource source;
    EXPECT_EQ(find_weight_format(source, module), nullptr);
    expect_error(ErrorKind::not_found, {module}, [&] { load_linear(source, module, 8, 8, {}); });
}

TEST(WeightFormat, ForeignLayoutsAreRefusedByName) {
    struct Foreign {
        std::string_view layout;
        std::vector<std::tuple<std::string, DType, Shape>> tensors;
    };
    const std::string experts = "model.language_model.layers.0.mlp.experts.gate_up_proj";
    for (const Foreign& foreign : std::vector<Foreign>{
             {"NVFP4",
              {{module + ".weight", DType::u8, Shape{8, 4}},
               {module + ".weight_scale", DType::f8_e4m3, Shape{8, 1}},
               {module + ".weight_scale_2", DType::f32, Shape{}}}},
             {"NVFP4",
              {{module + ".weight_packed", DType::u8, Shape{8, 4}},
               {module + ".weight_global_scale", DType::f32, Shape{1}}}},
             {"MLX",
              {{module + ".weight", DType::u32, Shape{8, 1}},
               {module + ".scales", DType::f16, Shape{8, 1}},
               {module + ".biases", DType::f16, Shape{8, 1}}}},
             {"bitsandbytes",
              {{module + ".weight", DType::u8, Shape{32, 1}},
               {module + ".weight.absmax", DType::f32, Shape{1}},
               {module + ".weight.quant_state.bitsandbytes__nf4", DType::u8, Shape{9}}}},
             {"bitsandbytes",
              {{module + ".weight", DType::i8, Shape{8, 8}}, {module + ".SCB", DType::f32, Shape{8}}}},
             {"stacked GPTQ", {{module + ".qweight", DType::i32, Shape{3, 1, 8}}}}}) {
        SCOPED_TRACE(foreign.layout);
        MemorySource source;
        for (const auto& [name, dtype, shape] : foreign.tensors)
            source.add(name, dtype, shape,
                       std::vector<uint8_t>(static_cast<size_t>(shape.elements()) * dtype_size(dtype)));
        expect_error(ErrorKind::unsupported, {module, foreign.layout},
                     [&] { load_linear(source, module, 8, 8, {}); });
        expect_error(ErrorKind::unsupported, {"the checkpoint is", foreign.layout},
                     [&] { refuse_known_foreign_layouts(source); });
    }
    for (const auto& [layout, name, shape] :
         {std::tuple("GGUF", "blk.0.ffn_down_exps.weight", Shape{1}),
          std::tuple("MLX", "language_model.model.layers.0.mlp.switch_mlp.gate_proj.weight", Shape{1}),
          std::tuple("MLX", "model.language_model.layers.0.linear_attn.conv1d.weight", Shape{8, 4, 1}),
          std::tuple("stacked GPTQ", "model.layers.0.mlp.experts.gate_up_proj.qweight", Shape{2, 1, 8})}) {
        MemorySource source;
        source.add(name, DType::u8, shape, std::vector<uint8_t>(static_cast<size_t>(shape.elements())));
        expect_error(ErrorKind::unsupported, {layout, name}, [&] { refuse_known_foreign_layouts(source); });
    }
}

TEST(WeightFormat, KnownLayoutsAreNotRefused) {
    MemorySource source;
    add_gptq(source, Truth(16, 64, 32, true), 1);
    source.add("model.language_model.layers.0.linear_attn.conv1d.weight", DType::f32, Shape{8, 1, 4},
               std::vector<float>(32));
    source.add("model.visual.blocks.0.attn.qkv.bias", DType::f32, Shape{1}, std::vector<float>(1));
    refuse_known_foreign_layouts(source);
}

// One half of a fused gate_up: no copy, whatever the borders.
TEST(OutputSlice, Int4) {
    for (const bool symmetric : {true, false}) {
        const Truth truth = with_act_order(Truth(40, 96, 32, symmetric), 9);
        MemorySource source;
        add_gptq(source, truth, 1);
        source.add(module + ".g_idx", DType::i32, Shape{96}, truth.group_of);
        const HostLinear whole = load_linear(source, module, 40, 96, hints_of(truth, symmetric, true));
        for (const auto& [begin, end] :
             {std::pair<int64_t, int64_t>{0, 20}, {20, 40}, {3, 4}, {7, 33}, {5, 5}}) {
            const HostLinear part = whole.output_slice(begin, end);
            EXPECT_EQ(part.out, end - begin);
            EXPECT_EQ(int4(part).codes.view.raw(), int4(whole).codes.view.row<int32_t>(0) + begin);
            const HostTensor values = dequantize(part);
            for (int64_t n = begin; n < end; ++n)
                for (int64_t k = 0; k < 96; ++k)
                    ASSERT_EQ(values.view.row<float>(n - begin)[k], truth.value(n, k));
            const HostLinear inner = part.output_slice(0, part.out / 2);  // slices of slices
            const HostTensor inner_values = dequantize(inner);
            for (int64_t n = 0; n < inner.out; ++n)
                for (int64_t k = 0; k < 96; ++k)
                    ASSERT_EQ(inner_values.view.row<float>(n)[k], truth.value(begin + n, k));
        }
        EXPECT_THROW(whole.output_slice(0, 41), InternalError);
    }
}

TEST(OutputSlice, Fp8AndDense) {
    const int64_t out = 70, in = 24;
    std::vector<uint8_t> bytes;
    for (int64_t i = 0; i < out * in; ++i) bytes.push_back(static_cast<uint8_t>(i % 126));
    for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{32, 16}, {1, 24}, {70, 24}, {12, 8}}) {
        MemorySource source;
        QuantizationHints hints;
        hints.fp8_block_rows = rows;
        hints.fp8_block_columns = columns;
        const Shape shape{(out + rows - 1) / rows, (in + columns - 1) / columns};
        std::vector<float> scales;
        for (int64_t i = 0; i < shape.elements(); ++i) scales.push_back(1 + static_cast<float>(i));
        source.add(module + ".weight", DType::f8_e4m3, Shape{out, in}, bytes);
        source.add(module + ".weight_scale_inv", DType::f32, shape, scales);
        const HostLinear whole = load_linear(source, module, out, in, hints);
        const HostTensor all = dequantize(whole);
        for (int64_t begin = 0; begin < out; begin += 3) {
            for (int64_t end = begin; end <= out; end += 5) {
                const HostTensor part = dequantize(whole.output_slice(begin, end));
                for (int64_t n = begin; n < end; ++n)
                    for (int64_t k = 0; k < in; ++k)
                        ASSERT_EQ(part.view.row<float>(n - begin)[k], all.view.row<float>(n)[k])
                            << rows << ": " << begin << ".." << end;
            }
        }
    }
    MemorySource source;
    source.add(module + ".weight", DType::f32, Shape{3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6});
    const HostTensor part = dequantize(load_linear(source, module, 3, 2, {}).output_slice(1, 3));
    EXPECT_EQ(std::vector<float>(part.view.data<float>(), part.view.data<float>() + 4),
              (std::vector<float>{3, 4, 5, 6}));
}

}  // namespace
}  // namespace sheaf
