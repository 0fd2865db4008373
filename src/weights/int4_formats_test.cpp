// GPTQ, AWQ and compressed-tensors against layers whose numbers are known.
#include <cmath>

#include "weights/testing_int4.h"

namespace sheaf {
namespace {

using testing::add_awq;
using testing::add_compressed_tensors;
using testing::add_gptq;
using testing::expect_equal;
using testing::expect_error;
using testing::hints_of;
using testing::int4;
using testing::int4_sizes;
using testing::MemorySource;
using testing::module;
using testing::Sizes;
using testing::Truth;
using testing::with_act_order;
using testing::ZeroPoints;

TEST(Gptq, EverySizeVersionAndSymmetry) {
    for (const Sizes& size : int4_sizes) {
        for (const bool symmetric : {true, false}) {
            for (const int version : {1, 2}) {
                SCOPED_TRACE(
                    fmt::format("{} {} {} {} v{}", size.out, size.in, size.group_size, symmetric, version));
                const Truth truth(size.out, size.in, size.group_size, symmetric);
                MemorySource source;
                add_gptq(source, truth, version);
                EXPECT_EQ(find_weight_format(source, module)->name(), "int4 gptq");
                const HostLinear linear = load_linear(source, module, truth.out, truth.in,
                                                      hints_of(truth, symmetric, version == 1));
                expect_equal(linear, truth);
                EXPECT_EQ(int4(linear).zeros.defined(), !symmetric);
                EXPECT_EQ(int4(linear).group_size, std::min(size.group_size, size.in));
                EXPECT_FALSE(int4(linear).input_order.defined());
                EXPECT_FALSE(linear.bias.defined());
                EXPECT_EQ(int4(linear).codes.view.raw(), source.at(module + ".qweight").view.raw())
                    << "copied";
                EXPECT_TRUE(source.unused().empty());
            }
        }
    }
}

TEST(Gptq, OutputsThatAreNoMultipleOfEight) {
    const Truth truth(13, 64, 32, false);
    MemorySource source;
    add_gptq(source, truth, 1);
    expect_equal(load_linear(source, module, 13, 64, hints_of(truth, false, true)), truth);
}

TEST(Gptq, OneGroupPerColumn) {
    const Truth truth(16, 96, 96, true);
    MemorySource source;
    add_gptq(source, truth, 1);
    QuantizationHints hints;
    hints.group_size = -1;
    expect_equal(load_linear(source, module, 16, 96, hints), truth);
}

TEST(Gptq, SymmetricTensorsAreBelievedAgainstTheConfig) {
    const Truth truth(16, 64, 32, true);
    for (const bool minus_one : {true, false}) {
        MemorySource source;
        add_gptq(source, truth, minus_one ? 1 : 2);
        expect_equal(load_linear(source, module, 16, 64, hints_of(truth, true, !minus_one)), truth);
    }
    // Without symmetry 7 is as good a zero point as 8: the config decides.
    MemorySource source;
    add_gptq(source, truth, 1);
    const HostLinear linear = load_linear(source, module, 16, 64, hints_of(truth, false, false));
    ASSERT_TRUE(int4(linear).zeros.defined());
    EXPECT_EQ(int4(linear).zeros.view.row<uint8_t>(0)[0], 7);
}

TEST(Gptq, GroupSizeComesFromTheTensors) {
    const Truth truth(16, 256, 64, true);
    MemorySource source;
    add_gptq(source, truth, 1);
    QuantizationHints hints;  // says 128
    const HostLinear linear = load_linear(source, module, 16, 256, hints);
    EXPECT_EQ(int4(linear).group_size, 64);
    expect_equal(linear, truth);
}

TEST(Gptq, GroupIndex) {
    for (const Sizes& size : int4_sizes) {
        for (const bool shuffled : {false, true}) {
            SCOPED_TRACE(fmt::format("{} {} {} {}", size.out, size.in, size.group_size, shuffled));
            Truth truth(size.out, size.in, size.group_size, false);
            if (shuffled) truth = with_act_order(truth, 3);
            MemorySource source;
            add_gptq(source, truth, 1);
            source.add(module + ".g_idx", DType::i32, Shape{truth.in}, truth.group_of);
            const HostLinear linear =
                load_linear(source, module, truth.out, truth.in, hints_of(truth, false, true));
            expect_equal(linear, truth);
            EXPECT_EQ(int4(linear).input_order.defined(), shuffled && truth.groups > 1);
            EXPECT_TRUE(source.unused().empty());
        }
    }
}

TEST(Gptq, EmptyGroupIndex) {
    const Truth truth(16, 64, 32, true);
    MemorySource source;
    add_gptq(source, truth, 1);
    source.add(module + ".g_idx", DType::i32, Shape{0}, std::vector<int32_t>{});
    expect_equal(load_linear(source, module, 16, 64, hints_of(truth, true, true)), truth);
    EXPECT_TRUE(source.unused().empty());
}

TEST(Gptq, BadGroupIndex) {
    const Truth truth(16, 64, 32, true);
    const auto refuse = [&](size_t at, int32_t group, ErrorKind kind, std::string_view message) {
        MemorySource source;
        add_gptq(source, truth, 1);
        auto index = truth.group_of;
        index[at] = group;
        source.add(module + ".g_idx", DType::i32, Shape{64}, index);
        expect_error(kind, {module + ".g_idx", message},
                     [&] { load_linear(source, module, 16, 64, hints_of(truth, true, true)); });
    };
    refuse(0, 1, ErrorKind::unsupported, "groups of equal size");
    refuse(63, 0, ErrorKind::unsupported, "groups of equal size");
    refuse(5, 2, ErrorKind::corrupt_file, "names group 2 of 2");
    refuse(5, -1, ErrorKind::corrupt_file, "names group -1 of 2");
}

TEST(Gptq, ScalesOfEveryFloatType) {
    Truth truth(16, 64, 32, true);
    for (auto& scale : truth.scales) scale = float16(static_cast<float>(bfloat16(static_cast<float>(scale))));
    std::vector<float> wide;
    std::vector<bfloat16> brain;
    for (float16 scale : truth.scales) {
        wide.push_back(static_cast<float>(scale));
        brain.emplace_back(static_cast<float>(scale));
    }
    MemorySource source;
    add_gptq(source, truth, 1);
    source.add(module + ".scales", DType::f32, Shape{2, 16}, wide);
    expect_equal(load_linear(source, module, 16, 64, hints_of(truth, true, true)), truth);
    source.add(module + ".scales", DType::bf16, Shape{2, 16}, brain);
    expect_equal(load_linear(source, module, 16, 64, hints_of(truth, true, true)), truth);
}

TEST(Gptq, NonFiniteScales) {
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
        for (const DType dtype : {DType::f16, DType::bf16, DType::f32}) {
            const Truth truth(16, 64, 32, true);
            MemorySource source;
            add_gptq(source, truth, 1);
            if (dtype == DType::f32) {
                std::vector<float> scales(32, 0.5f);
                scales[17] = bad;
                source.add(module + ".scales", dtype, Shape{2, 16}, scales);
            } else if (dtype == DType::f16) {
                std::vector<float16> scales(32, float16(0.5f));
                scales[17] = float16(bad);
                source.add(module + ".scales", dtype, Shape{2, 16}, scales);
            } else {
                std::vector<bfloat16> scales(32, bfloat16(0.5f));
                scales[17] = bfloat16(bad);
                source.add(module + ".scales", dtype, Shape{2, 16}, scales);
            }
            expect_error(ErrorKind::corrupt_file, {module + ".scales", "infinite or NaN"},
                         [&] { load_linear(source, module, 16, 64, hints_of(truth, true, true)); });
        }
    }
}

TEST(Gptq, WrongShapesAndTypes) {
    const Truth truth(16, 128, 32, true);
    const auto refuse = [&](const std::string& suffix, DType dtype, Shape shape, ErrorKind kind,
                            std::initializer_list<std::string_view> parts) {
        MemorySource source;
        add_gptq(source, truth, 1);
        source.remove(module + suffix);
        if (shape.rank() > 0)
            source.add(module + suffix, dtype, shape,
                       std::vector<uint8_t>(static_cast<size_t>(shape.elements()) * dtype_size(dtype)));
        SCOPED_TRACE(suffix + shape.to_string());
        expect_error(kind, parts, [&] { load_linear(source, module, 16, 128, hints_of(truth, true, true)); });
    };
    const auto corrupt = ErrorKind::corrupt_file, unsupported = ErrorKind::unsupported;
    const auto i32 = DType::i32, f16 = DType::f16;
    refuse(".qweight", i32, Shape{15, 16}, corrupt, {module + ".qweight", "(15, 16), expected (16, 16)"});
    refuse(".qweight", i32, Shape{16, 17}, corrupt, {"(16, 17), expected (16, 16)"});
    refuse(".qweight", i32, Shape{16, 32}, corrupt, {"(16, 32)"});
    refuse(".qweight", DType::i64, Shape{16, 16}, unsupported, {"is I64", "I32"});
    refuse(".qweight", i32, Shape{12, 16}, unsupported, {"3-bit"});
    refuse(".qweight", i32, Shape{8, 16}, unsupported, {"2-bit"});
    refuse(".qweight", i32, Shape{32, 16}, unsupported, {"8-bit"});
    refuse(".qweight", i32, Shape{4, 16, 16}, unsupported, {"stacked GPTQ"});
    refuse(".scales", f16, Shape{}, corrupt, {module + ".scales", "missing"});
    refuse(".scales", f16, Shape{4, 15}, corrupt, {"(4, 15), expected (4, 16)"});
    refuse(".scales", f16, Shape{3, 16}, corrupt, {"(3, 16), expected 4 groups of 32"});
    refuse(".scales", f16, Shape{0, 16}, corrupt, {"(0, 16)"});
    refuse(".scales", f16, Shape{16}, corrupt, {"(16)"});
    refuse(".scales", DType::u8, Shape{4, 16}, unsupported, {"is U8"});
    refuse(".qzeros", i32, Shape{}, corrupt, {module + ".qzeros", "missing"});
    refuse(".qzeros", i32, Shape{3, 2}, corrupt, {"(3, 2), expected (4, 2)"});
    refuse(".qzeros", i32, Shape{4, 4}, unsupported, {"8-bit"});
    refuse(".g_idx", i32, Shape{127}, corrupt, {module + ".g_idx", "(127), expected (128)"});
}

TEST(Gptq, TransposedIsNamed) {
    const Truth truth(48, 128, 32, true);
    MemorySource source;
    add_gptq(source, truth, 1);
    source.add(module + ".qweight", DType::i32, Shape{48, 16}, std::vector<int32_t>(48 * 16));
    expect_error(ErrorKind::corrupt_file, {module + ".qweight", "(48, 16), expected (16, 48)", "transposed"},
                 [&] { load_linear(source, module, 48, 128, hints_of(truth, true, true)); });
    // A square one looks like AWQ: then the config speaks.
    const Truth square(64, 64, 32, true);
    MemorySource other;
    add_gptq(other, square, 1);
    other.add(module + ".qweight", DType::i32, Shape{64, 8}, std::vector<int32_t>(64 * 8));
    QuantizationHints hints = hints_of(square, true, true);
    hints.packing = "auto_round:auto_gptq";
    expect_error(ErrorKind::corrupt_file, {module + ".qweight", "(64, 8), expected (8, 64)", "transposed"},
                 [&] { load_linear(other, module, 64, 64, hints); });
}

TEST(Gptq, InputsMustFillWords) {
    MemorySource source;
    source.add(module + ".qweight", DType::i32, Shape{2, 8}, std::vector<int32_t>(16));
    expect_error(ErrorKind::unsupported, {"12 inputs", "multiple of 8"},
                 [&] { load_linear(source, module, 8, 12, {}); });
}

TEST(Gptq, Bias) {
    const Truth truth(16, 64, 32, true);
    MemorySource source;
    add_gptq(source, truth, 1);
    std::vector<float16> bias(16, float16(-0.0f));
    source.add(module + ".bias", DType::f16, Shape{16}, bias);
    EXPECT_FALSE(load_linear(source, module, 16, 64, hints_of(truth, true, true)).bias.defined());
    EXPECT_TRUE(source.unused().empty());
    bias[3] = float16(0.5f);
    source.add(module + ".bias", DType::f16, Shape{16}, bias);
    const HostLinear linear = load_linear(source, module, 16, 64, hints_of(truth, true, true));
    ASSERT_TRUE(linear.bias.defined());
    EXPECT_EQ(static_cast<float>(linear.output_slice(3, 5).bias.view.data<float16>()[0]), 0.5f);
    source.add(module + ".bias", DType::f16, Shape{1, 16}, bias);
    expect_error(ErrorKind::corrupt_file, {module + ".bias"},
                 [&] { load_linear(source, module, 16, 64, hints_of(truth, true, true)); });
}

TEST(Int4, BitsOfTheConfig) {
    const Truth truth(16, 64, 32, true);
    MemorySource gptq, awq, compressed;
    add_gptq(gptq, truth, 1);
    add_awq(awq, truth);
    add_compressed_tensors(compressed, truth, ZeroPoints::none);
    QuantizationHints hints = hints_of(truth, true, true);
    for (MemorySource* source : {&gptq, &awq, &compressed}) {
        for (hints.bits = 1; hints.bits <= 16; ++hints.bits) {
            if (hints.bits == 4 ||
                hints.bits == 16) {  // 16 bits, but packed all the same: the tensor is believed
                expect_equal(load_linear(*source, module, 16, 64, hints), truth);
            } else {
                expect_error(ErrorKind::unsupported, {module, fmt::format("bits = {}", hints.bits)},
                             [&] { load_linear(*source, module, 16, 64, hints); });
            }
        }
    }
}

TEST(Awq, EverySize) {
    for (const Sizes& size : int4_sizes) {
        for (const bool symmetric : {true, false}) {
            SCOPED_TRACE(fmt::format("{} {} {}", size.out, size.in, size.group_size));
            const Truth truth(size.out, size.in, size.group_size, symmetric);
            MemorySource source;
            add_awq(source, truth);
            EXPECT_EQ(find_weight_format(source, module)->name(), "int4 awq");
            QuantizationHints hints = hints_of(truth, symmetric, true);  // the offset of GPTQ has no say here
            hints.method = "awq";
            const HostLinear linear = load_linear(source, module, truth.out, truth.in, hints);
            expect_equal(linear, truth);
            EXPECT_EQ(int4(linear).zeros.defined(), !symmetric);
            EXPECT_TRUE(source.unused().empty());
        }
    }
}

TEST(Awq, WrongShape) {
    const Truth truth(64, 128, 32, false);
    MemorySource source;
    add_awq(source, truth);
    expect_error(ErrorKind::corrupt_file, {module + ".qweight", "(128, 8), expected (256, 8)"},
                 [&] { load_linear(source, module, 64, 256, hints_of(truth, false, false)); });
}

TEST(CompressedTensors, EverySizeAndZeroPoint) {
    for (const Sizes& size : int4_sizes) {
        for (const ZeroPoints zeros : {ZeroPoints::none, ZeroPoints::packed, ZeroPoints::bytes}) {
            for (const bool shuffled : {false, true}) {
                SCOPED_TRACE(fmt::format("{} {} {} {}", size.out, size.in, size.group_size, shuffled));
                Truth truth(size.out, size.in, size.group_size, zeros == ZeroPoints::none);
                if (shuffled) truth = with_act_order(truth, 5);
                MemorySource source;
                add_compressed_tensors(source, truth, zeros);
                if (shuffled)
                    source.add(module + ".weight_g_idx", DType::i32, Shape{truth.in}, truth.group_of);
                EXPECT_EQ(find_weight_format(source, module)->name(), "int4 compressed-tensors");
                const HostLinear linear =
                    load_linear(source, module, truth.out, truth.in, hints_of(truth, true, true));
                expect_equal(linear, truth);
                EXPECT_EQ(int4(linear).zeros.defined(), zeros != ZeroPoints::none);
                EXPECT_TRUE(source.unused().empty());
            }
        }
    }
}

TEST(CompressedTensors, Refusals) {
    const Truth truth(16, 64, 32, true);
    MemorySource source;
    add_compressed_tensors(source, truth, ZeroPoints::none);
    const auto load = [&] { load_linear(source, module, 16, 64, hints_of(truth, true, true)); };
    source.add(module + ".weight_g_idx", DType::i32, Shape{64}, std::vector<int32_t>(64, -1));  // "no order"
    expect_equal(load_linear(source, module, 16, 64, hints_of(truth, true, true)), truth);
    source.add(module + ".weight_shape", DType::i64, Shape{2}, std::vector<int64_t>{16, 63});
    expect_error(ErrorKind::corrupt_file, {module + ".weight_shape", "(16, 63), expected (16, 64)"}, load);
    source.remove(module + ".weight_shape");
    source.add(module + ".weight_zero_point", DType::i8, Shape{16, 2}, std::vector<int8_t>(32, 8));
    expect_error(ErrorKind::corrupt_file, {module + ".weight_zero_point", "zero point 8"}, load);
    source.add(module + ".weight_packed", DType::i32, Shape{16, 16}, std::vector<int32_t>(256));
    expect_error(ErrorKind::unsupported, {module + ".weight_packed", "8-bit"}, load);
    source.add(module + ".weight_packed", DType::i32, Shape{16, 9}, std::vector<int32_t>(144));
    expect_error(ErrorKind::corrupt_file, {module + ".weight_packed", "(16, 9), expected (16, 8)"}, load);
}

}  // namespace
}  // namespace sheaf
