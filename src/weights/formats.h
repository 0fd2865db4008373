// What the weight formats share: names and shapes checked with one kind of message, scales checked to be
// finite, groups worked out. Used by the format_*.cpp files and weight_format.cpp only. Must not know the
// model or a back end.
#pragma once

#include <array>
#include <atomic>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "weights/weight_format.h"

namespace sheaf {

std::unique_ptr<WeightFormat> make_dense_format(DType dtype);
std::unique_ptr<WeightFormat> make_gptq_format();
std::unique_ptr<WeightFormat> make_awq_format();
std::unique_ptr<WeightFormat> make_fp8_format();
std::unique_ptr<WeightFormat> make_compressed_tensors_format();

/// "MODULE.SUFFIX"
std::string tensor_name(std::string_view module, std::string_view suffix);

/// Error(corrupt_file): the tensor, its file, both shapes, and `advice`.
[[noreturn]] void fail_shape(const WeightSource& source, std::string_view name, std::string_view expected,
                             std::string_view advice);

/// Takes a tensor that must be there with this shape and one of these element types. Errors: corrupt_file,
/// unsupported (another element type).
HostTensor take_checked(WeightSource& source, std::string_view name, const Shape& shape,
                        std::initializer_list<DType> dtypes);

/// Error(unsupported) when the hints name a width below 16 bits other than 4. (16 contradicts a tensor that
/// is packed; then the tensor is believed.)
void check_bits(std::string_view name, const QuantizationHints& hints);

/// take_checked for scales (f16, bf16, f32), which must be finite.
HostTensor take_scales(WeightSource& source, std::string_view name, const Shape& shape);
void check_finite(const WeightSource& source, std::string_view name, const HostTensor& scales);

/// MODULE.bias (out), undefined when there is none or it is zero everywhere (quantizers add such ones).
HostTensor take_bias(WeightSource& source, std::string_view module, int64_t out);

/// Inputs per group of a 4-bit weight with `groups` groups: what the hints say when it fits, else the even
/// power of two that does. A multiple of 8, at most `in`. Errors: corrupt_file naming the scales' tensor.
int64_t group_size_of(const WeightSource& source, std::string_view scales_name, int64_t groups, int64_t in,
                      const QuantizationHints& hints);

/// Whether all numbers of a matrix of 32-bit words are `value`.
bool every_word(const HostTensor& words, uint32_t value);

/// Unsigned 4-bit zero points (groups, out) from words packed along out after `addend` was added to each
/// word: nibble s of word c belongs to output 8 c + order[s]. Undefined when all come out as 8.
HostTensor unpack_zeros(const HostTensor& words, int64_t out, const std::array<int, 8>& order,
                        uint32_t addend);

/// The order in which act-order packs inputs: every group keeps its inputs in their order. Undefined when
/// `group_index` is p / group_size already. Errors: corrupt_file, unsupported (groups of other sizes).
HostTensor take_input_order(WeightSource& source, std::string_view name, int64_t in, int64_t groups,
                            int64_t group_size);
/// Codes (in / 8, out) with packed row p taken from row order[p].
HostTensor reorder_codes(const HostTensor& codes, const HostTensor& order);

constexpr std::array<int, 8> plain_order{0, 1, 2, 3, 4, 5, 6, 7};
constexpr std::array<int, 8> awq_order{0, 2, 4, 6, 1, 3, 5, 7};

/// Warns about a checkpoint that contradicts its config, at most a few times per `count`.
void warn_few(std::atomic<int>& count, const std::string& message);

}  // namespace sheaf
