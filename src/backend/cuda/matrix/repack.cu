// Kernels that fill weights: see repack.h and device_matrix.h. Loading is bound by the link to the host, so
// these are plain: one thread writes one or two words.
#include <cuda_fp8.h>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/matrix_values.cuh"
#include "backend/cuda/matrix/repack.h"

namespace sheaf::cuda {
namespace {

constexpr int threads = 256;

unsigned grid_of(int64_t work) {
    return static_cast<unsigned>((work + threads - 1) / threads);
}

__device__ float float_at(const void* values, Float type, int64_t index) {
    if (type == Float::f32) return static_cast<const float*>(values)[index];
    if (type == Float::bf16) return __bfloat162float(static_cast<const __nv_bfloat16*>(values)[index]);
    return __half2float(static_cast<const __half*>(values)[index]);
}

__device__ void store_scale(uint8_t* scales, ScaleType type, int index, float value) {
    if (type == ScaleType::f32) reinterpret_cast<float*>(scales)[index] = value;
    if (type == ScaleType::bf16) reinterpret_cast<__nv_bfloat16*>(scales)[index] = __float2bfloat16_rn(value);
    if (type == ScaleType::f16) reinterpret_cast<__half*>(scales)[index] = __float2half_rn(value);
}

/// The eight codes of packed word r (inputs 8 r ...) of row n; 8s where there are none.
__device__ uint32_t source_word(const SourceRows& source, int64_t r, int64_t n) {
    if (n >= source.rows || 8 * r >= source.in) return 0x88888888u;
    return static_cast<const uint32_t*>(source.values)[r * source.stride + n];
}

/// Four codes of rows g (low) and g + 8 (high) in the order of device_matrix.h.
__device__ uint32_t interleaved_codes(uint32_t low, uint32_t high) {
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int nibble = i / 2 * 2 + i % 2 * 4;
        word |= (low >> (4 * i) & 15u) << (4 * nibble);
        word |= (high >> (4 * i) & 15u) << (4 * (nibble + 1));
    }
    return word;
}

/// One thread per pair of words: eight inputs of two rows.
__global__ void repack_int4(SourceRows low, SourceRows high, bool interleaved, DeviceMatrix target,
                            uint8_t* data, UnitRange range) {
    const int64_t index = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    const int64_t pairs = 128, count = range.blocks * range.units * pairs;
    if (index >= count) return;
    // g runs fastest: neighbours read neighbouring columns of the source.
    const int g = static_cast<int>(index % 8), octet = static_cast<int>(index / 8 % 16);
    const int64_t unit = index / pairs % range.units, block = index / pairs / range.units;
    const int64_t n_low = interleaved ? 8 * block + g : 16 * block + g,
                  n_high = interleaved ? n_low : n_low + 8;
    const SourceRows& upper = interleaved ? high : low;
    const int64_t r = unit * 16 + octet;
    const uint32_t a = source_word(low, r, n_low), b = source_word(upper, r, n_high);
    uint8_t* place =
        data + ((range.first_block + block) * target.units + range.first_unit + unit) * target.unit_bytes;
    uint32_t* words = reinterpret_cast<uint32_t*>(place) + code_word(g, 8 * octet);
    words[0] = interleaved_codes(a, b);
    words[1] = interleaved_codes(a >> 16, b >> 16);

    const int step = 16 / target.unit_groups;
    if (octet % step != 0) return;
    uint8_t* scales = place + DeviceMatrix::unit_code_bytes;
    uint8_t* zeros = scales + target.unit_groups * 16 * scale_size(target.scale);
    for (int half = 0; half < 2; ++half) {
        const SourceRows& source = half ? upper : low;
        const int64_t n = half ? n_high : n_low, group = 8 * r / source.group;
        const bool real = n < source.rows && 8 * r < source.in;
        const int at = octet / step * 16 + g * 2 + half;
        store_scale(scales, target.scale, at,
                    real ? float_at(source.scales, source.scale, group * source.stride + n) : 0.0f);
        if (target.has_zeros) zeros[at] = real && source.zeros ? source.zeros[group * source.stride + n] : 8;
    }
}

/// Value at position p of row n; `channel` receives the input it belongs to.
__device__ float source_value(const SourceRows& s, int64_t n, int64_t p, int64_t& channel, bool& is_nan) {
    channel = p;
    if (s.kind == SourceKind::dense) return float_at(s.values, s.type, n * s.in + p);
    if (s.kind == SourceKind::fp8) {
        const auto bits = static_cast<const __nv_fp8_storage_t*>(s.values)[n * s.in + p];
        is_nan = (bits & 0x7f) == 0x7f;
        const __half value(__nv_cvt_fp8_to_halfraw(bits, __NV_E4M3));
        const int64_t columns = (s.in + s.block_columns - 1) / s.block_columns;
        return __half2float(value) *
               float_at(s.scales, s.scale, n / s.block_rows * columns + p / s.block_columns);
    }
    if (s.order) channel = s.order[p];
    const uint32_t word = static_cast<const uint32_t*>(s.values)[p / 8 * s.stride + n];
    const int64_t at = p / s.group * s.stride + n;
    const int zero = s.zeros ? s.zeros[at] : 8;
    return static_cast<float>(static_cast<int>(word >> (4 * (p % 8)) & 15u) - zero) *
           float_at(s.scales, s.scale, at);
}

__device__ void store_dense(const DeviceMatrix& target, uint8_t* data, int64_t row, int64_t k, float value) {
    const int64_t at = row * target.row_stride + k;
    if (target.store == Store::f32) reinterpret_cast<float*>(data)[at] = value;
    if (target.store == Store::bf16) reinterpret_cast<__nv_bfloat16*>(data)[at] = __float2bfloat16_rn(value);
}

__global__ void expand(SourceRows source, DeviceMatrix target, uint8_t* data, RowMap map, int32_t* nan_flag) {
    const int64_t index = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    const int64_t n = index / source.in, p = index % source.in;
    if (n >= source.rows) return;
    int64_t channel;
    bool is_nan = false;
    const float value = source_value(source, n, p, channel, is_nan);
    if (is_nan) *nan_flag = 1;
    const int64_t at = map.first + n;
    const int64_t row = map.half < 0 ? at : at / 8 * 16 + 8 * map.half + at % 8;
    store_dense(target, data, row, channel, value);
}

__global__ void unpack(DeviceMatrix source, DeviceMatrix target, uint8_t* data) {
    const int64_t index = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    const int64_t n = index / source.in, k = index % source.in;
    if (n >= static_cast<int64_t>(source.blocks) * 16) return;
    store_dense(target, data, n, k, weight_at(source, source.data, n, k));
}

/// counter_random_bits (base/counter_random.h) on the device.
__device__ uint64_t random_bits(uint64_t key, uint64_t counter) {
    auto mix = [](uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    };
    return mix(mix(key + 0x9e3779b97f4a7c15ull) ^ (counter * 0x9e3779b97f4a7c15ull + 0xd1b54a32d192ed03ull));
}

__device__ float uniform(uint64_t bits) {
    return static_cast<float>(static_cast<int64_t>(bits)) * 0x1.0p-63f;
}

/// One thread per 16 bytes: the numbers of int4 units, then (in the same grid) nothing else.
__global__ void random_codes(DeviceMatrix target, uint8_t* data, float spread, uint64_t seed) {
    const int64_t index = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    const int64_t unit = index / 64;
    const int lane = static_cast<int>(index % 64);
    if (unit >= static_cast<int64_t>(target.blocks) * target.units) return;
    uint8_t* place = data + unit * target.unit_bytes;
    const uint64_t a = random_bits(seed, 2 * static_cast<uint64_t>(index));
    const uint64_t b = random_bits(seed, 2 * static_cast<uint64_t>(index) + 1);
    uint4 codes = make_uint4(static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32),
                             static_cast<uint32_t>(b), static_cast<uint32_t>(b >> 32));
    const int64_t k = unit % target.units * 128 + lane / 32 * 64 + lane % 4 * 8;  // and the next 32-run
    if (k >= target.in) codes.x = codes.y = 0x88888888u;
    if (k + 32 >= target.in) codes.z = codes.w = 0x88888888u;
    reinterpret_cast<uint4*>(place)[lane] = codes;
    if (lane >= 16 * target.unit_groups) return;
    const int64_t row = unit / target.units * 16 + lane % 2 * 8 + lane % 16 / 2;
    uint8_t* scales = place + DeviceMatrix::unit_code_bytes;
    const float u = uniform(random_bits(~seed, static_cast<uint64_t>(index)));
    const float value = copysignf(spread * (0.75f + 0.5f * fabsf(u)), u);
    store_scale(scales, target.scale, lane, row < target.out ? value : 0.0f);
    if (target.has_zeros) scales[target.unit_groups * 16 * scale_size(target.scale) + lane] = 8;
}

__global__ void random_floats(DeviceMatrix target, uint8_t* data, float spread, uint64_t seed) {
    const int64_t index = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    const int64_t n = index / target.row_stride, k = index % target.row_stride;
    if (n >= static_cast<int64_t>(target.blocks) * 16) return;
    const float value = spread * uniform(random_bits(seed, static_cast<uint64_t>(index)));
    store_dense(target, data, n, k, n < target.out && k < target.in ? value : 0.0f);
}

}  // namespace

void launch_repack_int4(const SourceRows& low, const SourceRows& high, bool interleaved,
                        const DeviceMatrix& target, uint8_t* data, const UnitRange& range,
                        cudaStream_t stream) {
    repack_int4<<<grid_of(range.blocks * range.units * 128), threads, 0, stream>>>(low, high, interleaved,
                                                                                   target, data, range);
    check_launch("repack_int4");
}

void launch_expand(const SourceRows& source, const DeviceMatrix& target, uint8_t* data, const RowMap& map,
                   int32_t* nan_flag, cudaStream_t stream) {
    expand<<<grid_of(source.rows * source.in), threads, 0, stream>>>(source, target, data, map, nan_flag);
    check_launch("expand");
}

void launch_unpack(const DeviceMatrix& source, const DeviceMatrix& target, uint8_t* data,
                   cudaStream_t stream) {
    unpack<<<grid_of(static_cast<int64_t>(source.blocks) * 16 * source.in), threads, 0, stream>>>(
        source, target, data);
    check_launch("unpack");
}

void launch_random(const DeviceMatrix& target, uint8_t* data, float spread, uint64_t seed,
                   cudaStream_t stream) {
    if (target.store == Store::int4) {
        const int64_t pieces = static_cast<int64_t>(target.blocks) * target.units * 64;
        random_codes<<<grid_of(pieces), threads, 0, stream>>>(target, data, spread, seed);
    } else {
        const int64_t values = static_cast<int64_t>(target.blocks) * 16 * target.row_stride;
        random_floats<<<grid_of(values), threads, 0, stream>>>(target, data, spread, seed);
    }
    check_launch("random weights");
}

}  // namespace sheaf::cuda
