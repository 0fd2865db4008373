// 4-bit layers as plain numbers, and packers of each format written from its description: what the tests of
// the weight formats compare with. Included by *_test.cpp only. Must not know the code that it tests, but for
// the structs.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "base/counter_random.h"
#include "weights/host_linear.h"
#include "weights/testing.h"
#include "weights/weight_format.h"

namespace sheaf::testing {

inline const std::string module = "model.language_model.layers.0.mlp.down_proj";

// A 4-bit layer as numbers, before any packing: what every format must give back.
struct Truth {
    int64_t out, in, group_size, groups;
    std::vector<int> codes;         // [in][out]
    std::vector<int> zeros;         // [groups][out]
    std::vector<float16> scales;    // [groups][out]
    std::vector<int32_t> group_of;  // [in]

    Truth(int64_t out_size, int64_t in_size, int64_t group, bool symmetric, uint64_t seed = 1)
        : out(out_size), in(in_size), group_size(group), groups((in_size + group - 1) / group) {
        uint64_t counter = 0;
        const auto below = [&](int limit) {
            return static_cast<int>(counter_random_uniform(seed, counter++) * limit);
        };
        for (int64_t i = 0; i < in * out; ++i) codes.push_back(below(16));
        for (int64_t i = 0; i < groups * out; ++i) zeros.push_back(symmetric ? 8 : below(16));
        for (int64_t i = 0; i < groups * out; ++i)
            scales.emplace_back((static_cast<float>(below(1000)) - 500.0f) / 4096.0f);
        for (int64_t k = 0; k < in; ++k) group_of.push_back(static_cast<int32_t>(k / group));
    }

    float value(int64_t n, int64_t k) const {
        const size_t g = static_cast<size_t>(group_of[k] * out + n);
        return static_cast<float>(codes[k * out + n] - zeros[g]) * static_cast<float>(scales[g]);
    }
    int code(int64_t k, int64_t n) const { return codes[static_cast<size_t>(k * out + n)]; }
    int zero(int64_t g, int64_t n) const { return zeros[static_cast<size_t>(g * out + n)]; }
};

// words[row][i / 8] with value(row, i) in nibble slot(i % 8).
template <class Value>
std::vector<uint32_t> pack_rows(int64_t rows, int64_t columns, const Value& value,
                                const std::array<int, 8>& slot = {0, 1, 2, 3, 4, 5, 6, 7}) {
    const int64_t width = (columns + 7) / 8;
    std::vector<uint32_t> words(static_cast<size_t>(rows * width));
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c)
            words[static_cast<size_t>(r * width + c / 8)] |= static_cast<uint32_t>(value(r, c) & 15)
                                                             << (4 * slot[static_cast<size_t>(c % 8)]);
    return words;
}

inline std::vector<uint32_t> transposed(const std::vector<uint32_t>& words, int64_t rows, int64_t columns) {
    std::vector<uint32_t> result(words.size());
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) result[c * rows + r] = words[r * columns + c];
    return result;
}

// Version 1 subtracts 1 from every nibble at once, by subtracting from the word.
// Version 1 stores every zero point minus 1, by subtracting from whole words.
inline void add_gptq(MemorySource& source, const Truth& truth, int version) {
    const auto by_output =
        pack_rows(truth.out, truth.in, [&](int64_t n, int64_t k) { return truth.code(k, n); });
    source.add(module + ".qweight", DType::i32, Shape{truth.in / 8, truth.out},
               transposed(by_output, truth.out, truth.in / 8));
    auto zeros = pack_rows(truth.groups, truth.out, [&](int64_t g, int64_t n) { return truth.zero(g, n); });
    if (version == 1)
        for (uint32_t& word : zeros) word -= 0x11111111u;
    source.add(module + ".qzeros", DType::i32, Shape{truth.groups, (truth.out + 7) / 8}, zeros);
    source.add(module + ".scales", DType::f16, Shape{truth.groups, truth.out}, truth.scales);
}

inline void add_awq(MemorySource& source, const Truth& truth) {
    // Nibble s holds column {0,2,4,6,1,3,5,7}[s], so column i lies in nibble {0,4,1,5,2,6,3,7}[i].
    const std::array<int, 8> slot{0, 4, 1, 5, 2, 6, 3, 7};
    source.add(module + ".qweight", DType::i32, Shape{truth.in, truth.out / 8},
               pack_rows(
                   truth.in, truth.out, [&](int64_t k, int64_t n) { return truth.code(k, n); }, slot));
    source.add(module + ".qzeros", DType::i32, Shape{truth.groups, truth.out / 8},
               pack_rows(
                   truth.groups, truth.out, [&](int64_t g, int64_t n) { return truth.zero(g, n); }, slot));
    source.add(module + ".scales", DType::f16, Shape{truth.groups, truth.out}, truth.scales);
}

enum class ZeroPoints { none, packed, bytes };

inline void add_compressed_tensors(MemorySource& source, const Truth& truth, ZeroPoints zero_points) {
    source.add(module + ".weight_packed", DType::i32, Shape{truth.out, truth.in / 8},
               pack_rows(truth.out, truth.in, [&](int64_t n, int64_t k) { return truth.code(k, n); }));
    std::vector<float16> scales;
    std::vector<int8_t> zeros;
    for (int64_t n = 0; n < truth.out; ++n)
        for (int64_t g = 0; g < truth.groups; ++g) {
            scales.push_back(truth.scales[static_cast<size_t>(g * truth.out + n)]);
            zeros.push_back(static_cast<int8_t>(truth.zero(g, n) - 8));
        }
    source.add(module + ".weight_scale", DType::f16, Shape{truth.out, truth.groups}, scales);
    source.add(module + ".weight_shape", DType::i64, Shape{2}, std::vector<int64_t>{truth.out, truth.in});
    if (zero_points == ZeroPoints::bytes)
        source.add(module + ".weight_zero_point", DType::i8, Shape{truth.out, truth.groups}, zeros);
    if (zero_points == ZeroPoints::packed) {
        const auto words =
            pack_rows(truth.groups, truth.out, [&](int64_t g, int64_t n) { return truth.zero(g, n); });
        const int64_t width = (truth.out + 7) / 8;
        source.add(module + ".weight_zero_point", DType::i32, Shape{width, truth.groups},
                   transposed(words, truth.groups, width));
    }
}

inline QuantizationHints hints_of(const Truth& truth, bool symmetric, bool minus_one) {
    QuantizationHints hints;
    hints.group_size = truth.group_size;
    hints.symmetric = symmetric;
    hints.zero_point_minus_one = minus_one;
    return hints;
}

inline void expect_equal(const HostLinear& linear, const Truth& truth) {
    ASSERT_EQ(linear.out, truth.out);
    ASSERT_EQ(linear.in, truth.in);
    const HostTensor values = dequantize(linear);
    for (int64_t n = 0; n < truth.out; ++n)
        for (int64_t k = 0; k < truth.in; ++k)
            ASSERT_EQ(values.view.row<float>(n)[k], truth.value(n, k)) << n << ", " << k;
}

inline const Int4Weight& int4(const HostLinear& linear) {
    return std::get<Int4Weight>(linear.weight);
}

struct Sizes {
    int64_t out, in, group_size;
};
// Even groups, ragged ones (192 inputs in groups of 128), one group, fewer inputs than a group, odd outputs.
inline const std::vector<Sizes> int4_sizes{{64, 256, 128}, {32, 192, 128}, {40, 64, 32},
                                           {8, 96, 96},    {16, 48, 128},  {56, 1024, 1024}};

// Act-order: the inputs of a group are anywhere; codes lie in the order of the inputs.
inline Truth with_act_order(Truth truth, uint64_t seed) {
    std::vector<int64_t> order(static_cast<size_t>(truth.in));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return counter_random_bits(seed, static_cast<uint64_t>(a)) <
               counter_random_bits(seed, static_cast<uint64_t>(b));
    });
    for (int64_t p = 0; p < truth.in; ++p)
        truth.group_of[static_cast<size_t>(order[static_cast<size_t>(p)])] =
            static_cast<int32_t>(p / truth.group_size);
    return truth;
}

}  // namespace sheaf::testing
