#include "weights/formats.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/log.h"

namespace sheaf {
namespace {

constexpr std::initializer_list<DType> float_types{DType::f16, DType::bf16, DType::f32};

// Non-finite numbers have all bits of the exponent set.
template <class Word>
bool any_with_bits(const Tensor& values, Word mask) {
    const Word* data = static_cast<const Word*>(values.raw());
    bool found = false;
    for (int64_t i = 0; i < values.elements(); ++i) found |= (data[i] & mask) == mask;
    return found;
}

bool all_zero(const Tensor& values) {
    const auto* data = static_cast<const uint8_t*>(values.raw());
    const size_t width = dtype_size(values.dtype());
    const uint8_t sign = 0x80;  // minus zero is zero, too
    for (size_t i = 0; i < values.bytes(); ++i) {
        const bool top = i % width == width - 1;
        if ((top ? data[i] & ~sign : data[i]) != 0) return false;
    }
    return true;
}

}  // namespace

std::string tensor_name(std::string_view module, std::string_view suffix) {
    return fmt::format("{}.{}", module, suffix);
}

void fail_shape(const WeightSource& source, std::string_view name, std::string_view expected,
                std::string_view advice) {
    const auto* info = source.find(name);
    fail(ErrorKind::corrupt_file, "{} in {} has shape {}, expected {}{}{}", name, source.where(name),
         info ? info->shape.to_string() : "()", expected, advice.empty() ? "" : ": ", advice);
}

HostTensor take_checked(WeightSource& source, std::string_view name, const Shape& shape,
                        std::initializer_list<DType> dtypes) {
    const auto* info = source.find(name);
    if (!info) fail(ErrorKind::corrupt_file, "{} is missing in {}", name, source.where(name));
    if (info->shape != shape) fail_shape(source, name, shape.to_string(), "");
    if (std::find(dtypes.begin(), dtypes.end(), info->dtype) == dtypes.end()) {
        std::string wanted;
        for (DType dtype : dtypes)
            wanted += fmt::format("{}{}", wanted.empty() ? "" : " or ", dtype_name(dtype));
        fail(ErrorKind::unsupported, "{} in {} is {}, expected {}", name, source.where(name),
             dtype_name(info->dtype), wanted);
    }
    return source.take(name);
}

void check_bits(std::string_view name, const QuantizationHints& hints) {
    if (hints.bits != 4 && hints.bits < 16)
        fail(ErrorKind::unsupported,
             "{}: quantization_config says bits = {}; only 4-bit integers are supported", name, hints.bits);
}

void check_finite(const WeightSource& source, std::string_view name, const HostTensor& scales) {
    const Tensor& view = scales.view;
    const bool bad = view.dtype() == DType::f16    ? any_with_bits<uint16_t>(view, 0x7c00)
                     : view.dtype() == DType::bf16 ? any_with_bits<uint16_t>(view, 0x7f80)
                                                   : any_with_bits<uint32_t>(view, 0x7f800000);
    if (bad)
        fail(ErrorKind::corrupt_file,
             "{} in {} holds infinite or NaN scales; the module must be quantized again", name,
             source.where(name));
}

HostTensor take_scales(WeightSource& source, std::string_view name, const Shape& shape) {
    HostTensor scales = take_checked(source, name, shape, float_types);
    check_finite(source, name, scales);
    return scales;
}

HostTensor take_bias(WeightSource& source, std::string_view module, int64_t out) {
    const std::string name = tensor_name(module, "bias");
    if (!source.has(name)) return {};
    HostTensor bias = take_checked(source, name, Shape{out}, float_types);
    return all_zero(bias.view) ? HostTensor{} : bias;
}

int64_t group_size_of(const WeightSource& source, std::string_view scales_name, int64_t groups, int64_t in,
                      const QuantizationHints& hints) {
    static std::atomic<int> warnings{0};
    const int64_t hinted = hints.group_size > 0 ? std::min(hints.group_size, in) : in;
    const int64_t hinted_groups = (in + hinted - 1) / hinted;
    if (groups == hinted_groups) {
        if (hinted % 8 != 0)
            fail(ErrorKind::unsupported, "{}: groups of {} inputs; only multiples of 8 are supported",
                 scales_name, hinted);
        return hinted;
    }
    const int64_t even = groups > 0 && in % groups == 0 ? in / groups : 0;
    if (groups != 1 && (even < 8 || !std::has_single_bit(static_cast<uint64_t>(even))))
        fail_shape(source, scales_name, fmt::format("{} groups of {} inputs", hinted_groups, hinted),
                   fmt::format("{} groups do not divide {} inputs", groups, in));
    warn_few(warnings, fmt::format("{} has groups of {} inputs, the config says {}; the tensors are believed",
                                   scales_name, even, hinted));
    return even;
}

bool every_word(const HostTensor& words, uint32_t value) {
    const Tensor& view = words.view;
    for (int64_t g = 0; g < view.size(0); ++g) {
        const auto* row = static_cast<const uint32_t*>(view.raw()) + g * view.row_stride();
        if (!std::all_of(row, row + view.size(1), [=](uint32_t word) { return word == value; })) return false;
    }
    return true;
}

HostTensor unpack_zeros(const HostTensor& words, int64_t out, const std::array<int, 8>& order,
                        uint32_t addend) {
    const int64_t groups = words.view.size(0);
    if (out % 8 == 0 && every_word(words, 0x88888888u - addend)) return {};  // the usual case, quickly
    HostTensor zeros(DType::u8, Shape{groups, out});
    bool all_eight = true;
    for (int64_t g = 0; g < groups; ++g) {
        const auto* row = static_cast<const uint32_t*>(words.view.raw()) + g * words.view.row_stride();
        uint8_t* target = zeros.view.row<uint8_t>(g);
        for (int64_t c = 0; 8 * c < out; ++c) {
            const uint32_t word = row[c] + addend;
            for (int s = 0; s < 8; ++s) {
                const int64_t n = 8 * c + order[static_cast<size_t>(s)];
                if (n >= out) continue;
                target[n] = static_cast<uint8_t>(word >> (4 * s) & 15u);
                all_eight &= target[n] == 8;
            }
        }
    }
    return all_eight ? HostTensor{} : zeros;
}

HostTensor take_input_order(WeightSource& source, std::string_view name, int64_t in, int64_t groups,
                            int64_t group_size) {
    const auto* info = source.find(name);
    if (!info) return {};
    if (info->shape.elements() == 0) {  // some writers leave an empty one
        source.skip(name);
        return {};
    }
    const HostTensor index = take_checked(source, name, Shape{in}, {DType::i32});
    const int32_t* group_of = index.view.data<int32_t>();
    if (std::all_of(group_of, group_of + in, [](int32_t g) { return g == -1; })) return {};  // "no order"
    bool identity = true;
    std::vector<int64_t> next(static_cast<size_t>(groups));
    for (int64_t g = 0; g < groups; ++g) next[static_cast<size_t>(g)] = g * group_size;
    HostTensor order(DType::i32, Shape{in});
    for (int64_t k = 0; k < in; ++k) {
        const int32_t g = group_of[k];
        if (g < 0 || g >= groups)
            fail(ErrorKind::corrupt_file, "{} in {} names group {} of {}", name, source.where(name), g,
                 groups);
        const int64_t p = next[static_cast<size_t>(g)]++;
        if (p >= std::min((g + 1) * group_size, in))
            fail(ErrorKind::unsupported,
                 "{} in {} puts more than {} inputs into group {}; only groups of equal size are supported",
                 name, source.where(name), group_size, g);
        order.view.data<int32_t>()[p] = static_cast<int32_t>(k);
        identity = identity && p == k;
    }
    return identity ? HostTensor{} : order;
}

HostTensor reorder_codes(const HostTensor& codes, const HostTensor& order) {
    const int64_t words = codes.view.size(0), out = codes.view.size(1);
    HostTensor result(DType::i32, Shape{words, out});
    const int32_t* from = order.view.data<int32_t>();
    for (int64_t p = 0; p < 8 * words; ++p) {
        const auto* source = reinterpret_cast<const uint32_t*>(codes.view.row<int32_t>(from[p] / 8));
        auto* target = reinterpret_cast<uint32_t*>(result.view.row<int32_t>(p / 8));
        const int down = 4 * (from[p] % 8), up = static_cast<int>(4 * (p % 8));
        for (int64_t n = 0; n < out; ++n) target[n] |= (source[n] >> down & 15u) << up;
    }
    return result;
}

void warn_few(std::atomic<int>& count, const std::string& message) {
    constexpr int limit = 3;
    const int before = count.fetch_add(1, std::memory_order_relaxed);
    if (before < limit) log::warn("{}", message);
    if (before == limit) log::warn("more warnings of this kind are not shown");
}

}  // namespace sheaf
