// Launchers of the kernels that fill weights: from rows of a canonical weight staged in device memory, or
// from random numbers. Used by prepare.cpp. Must not know where the rows came from.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/matrix/device_matrix.h"

namespace sheaf::cuda {

enum class SourceKind : int32_t { dense, int4, fp8 };
enum class Float : int32_t { f32, bf16, f16 };

/// Some rows of a HostLinear and, of int4, some of their inputs, staged in device memory.
struct SourceRows {
    SourceKind kind = SourceKind::dense;
    Float type = Float::f32;   // dense: of the values
    Float scale = Float::f32;  // int4, fp8: of the scales
    int64_t rows = 0, in = 0;
    int64_t stride = 0;              // int4: numbers from one row of the matrices below to the next
    const void* values = nullptr;    // dense, fp8: (rows, in); int4: i32 (in / 8, rows)
    const void* scales = nullptr;    // int4: (groups, rows); fp8: (block rows, block columns)
    const uint8_t* zeros = nullptr;  // int4: (groups, rows), or null: 8
    const int32_t* order = nullptr;  // int4: packed position -> input, or null
    int64_t group = 0;               // int4
    int64_t block_rows = 0, block_columns = 0;  // fp8

    /// int4: the outputs [first, first + count).
    SourceRows columns(int64_t first, int64_t count) const {
        SourceRows part = *this;
        part.rows = count;
        part.values = static_cast<const uint32_t*>(values) + first;
        part.scales = static_cast<const uint8_t*>(scales) + first * (scale == Float::f32 ? 4 : 2);
        if (zeros) part.zeros = zeros + first;
        return part;
    }
};

/// Where rows go: row n to row n + first, or in the interleaved form of gate_up (half 0: gate, 1: up).
struct RowMap {
    int64_t first = 0;
    int32_t half = -1;
};

/// A rectangle of a packed matrix, in blocks and units.
struct UnitRange {
    int64_t first_block = 0, blocks = 0, first_unit = 0, units = 0;
};

/// Fills a rectangle of `target` at `data`; the source's input 0 is the first unit's. Plain: `high` is unused
/// and source row 0 is row 16 first_block. Interleaved: low is gate, high is up, and row 0 is their row 8
/// first_block.
void launch_repack_int4(const SourceRows& low, const SourceRows& high, bool interleaved,
                        const DeviceMatrix& target, uint8_t* data, const UnitRange& range,
                        cudaStream_t stream);
/// Writes the rows as floats of target's store. `nan_flag`: set to 1 where an FP8 value is no number.
void launch_expand(const SourceRows& source, const DeviceMatrix& target, uint8_t* data, const RowMap& map,
                   int32_t* nan_flag, cudaStream_t stream);
/// The values of a packed matrix as floats of target's store, row for row.
void launch_unpack(const DeviceMatrix& source, const DeviceMatrix& target, uint8_t* data,
                   cudaStream_t stream);
/// Random codes, and scales of both signs with magnitudes spread * (0.75 ... 1.25); or uniform floats of
/// +- spread. The codes' pattern is a function of (seed, place).
void launch_random(const DeviceMatrix& target, uint8_t* data, float spread, uint64_t seed,
                   cudaStream_t stream);

}  // namespace sheaf::cuda
