// Packing: a canonical weight (HostLinear) into the tiles of packed_matrix.h, in one pass from the mapped
// checkpoint. Used by the CPU machine. Must not know operators.
#pragma once

#include <functional>

#include "backend/cpu/packed_matrix.h"
#include "ops/machine.h"
#include "weights/host_linear.h"

namespace sheaf::cpu {

/// The layout a weight gets, without data. int4 and fp8 stay as they are; f32 and f16 become f32, or bf16
/// when `compute` is bf16; bf16 stays. Groups that no whole number of words fills are stored as floats.
PackedMatrix plan_packing(const HostLinear& linear, ComputeType compute);

/// Bytes of the tiles, bias and input order together.
size_t packed_bytes(const PackedMatrix& plan, const HostLinear& linear);

/// Runs work(0) ... work(count - 1), perhaps in parallel.
using ForEach = std::function<void(int64_t count, const std::function<void(int64_t)>& work)>;

/// Fills `memory` (packed_bytes, 64-byte aligned) and returns the plan with its pointers set. output_order:
/// output n of the result is output output_order[n] of the weight; null for the identity. Errors:
/// corrupt_file for FP8 weights that are NaN.
PackedMatrix pack(const HostLinear& linear, PackedMatrix plan, uint8_t* memory, const ForEach& for_each,
                  const int32_t* output_order = nullptr);

}  // namespace sheaf::cpu
