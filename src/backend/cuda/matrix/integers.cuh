// The streaming product in integers, for int4 of the common kind and at most four columns: codes as bytes
// need two masks and a shift for eight weights, where bf16 needs four times the instructions, and
// instructions are what a streaming kernel is short of. Activations become 16-bit integers, one step per 128
// inputs (exact to 2^-16 of the largest among them), and go through the tensor cores as two columns of bytes,
// the upper and the lower; products and sums are exact. Device code only.
//
// Column 2 j is the upper, column 2 j + 1 the lower byte of column j of the activations, so that lane 4 g + t
// holds both sums of column t: rows g and g + 8. The second results of fragments.cuh (columns t + 4) stay
// zero.
#pragma once

#include "backend/cuda/matrix/fragments.cuh"

namespace sheaf::cuda {

constexpr int integer_columns = 4;

struct IntegerFormat {
    static constexpr bool packed = true;
    static constexpr int unit_inputs = 128,
                         words = 10;         // eight of bytes, the step, the sum times the zero point
    static constexpr float largest = 32512;  // 127 * 256: the upper byte stays in range when rounded

    __device__ static int column(int t, int which) { return t + integer_columns * which; }
    __device__ static int source_column(int g) { return g / 2; }

    /// values: of this lane's column, inputs 32 run + 8 t ... of the unit.
    __device__ static void set_columns(const uint4 (&values)[4], uint32_t (&b)[words]) {
        const int lane = threadIdx.x % 32, t = lane % 4;
        const bool lower = lane / 4 % 2;
        float x[32], top = 0, poison = 0;  // poison: 0, or not a number where the activations are not finite
#pragma unroll
        for (int run = 0; run < 4; ++run) {
            const uint32_t pairs[4] = {values[run].x, values[run].y, values[run].z, values[run].w};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                x[8 * run + 2 * i] = __uint_as_float(pairs[i] << 16);
                x[8 * run + 2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000u);
            }
        }
#pragma unroll
        for (int i = 0; i < 32; ++i) {
            top = fmaxf(top, fabsf(x[i]));
            poison = fmaf(x[i], 0.0f, poison);
        }
#pragma unroll
        for (int step = 1; step < 4; step *= 2) {
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
            poison += __shfl_xor_sync(0xffffffffu, poison, step);
        }
        const float step = fmaxf(top, 1e-30f) / largest, inverse = 1.0f / step;
        int sum = 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            constexpr int order[4] = {0, 2, 1, 3};  // of the codes' bytes
            uint32_t word = 0;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int q = __float2int_rn(x[4 * i + order[j]] * inverse), upper = (q + 128) >> 8;
                const int part = lower ? q - upper * 256 : upper;
                word |= (static_cast<uint32_t>(part) & 0xffu) << (8 * j);
            }
            b[i] = word;
            sum = __dp4a(static_cast<int>(word), 0x01010101, sum);
        }
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        const int upper_sum = __shfl_sync(0xffffffffu, sum, 8 * t),
                  lower_sum = __shfl_sync(0xffffffffu, sum, 8 * t + 4);
        b[8] = __float_as_uint(__shfl_sync(0xffffffffu, step + poison, 8 * t));
        b[9] = static_cast<uint32_t>(8 * (256 * upper_sum + lower_sum));
    }

    __device__ static void product(const uint8_t* unit, const DeviceMatrix& m, const uint32_t (&b)[words],
                                   float (&total)[4]) {
        const int lane = threadIdx.x % 32, g = lane / 4;
        const uint4 first = reinterpret_cast<const uint4*>(unit)[lane];
        const uint4 second = reinterpret_cast<const uint4*>(unit)[32 + lane];
        const uint32_t pair = reinterpret_cast<const uint32_t*>(unit + DeviceMatrix::unit_code_bytes)[g];
        const uint32_t codes[8] = {first.x,  first.y,  first.z,  first.w,
                                   second.x, second.y, second.z, second.w};
        int sums[4] = {0, 0, 0, 0};
#pragma unroll
        for (int run = 0; run < 4; ++run)
            multiply_bytes(sums, codes[2 * run], codes[2 * run + 1], b[2 * run], b[2 * run + 1]);
        const bool wide = m.scale == ScaleType::bf16;
        const float2 half = __half22float2(reinterpret_cast<const __half2&>(pair));
        const float step = __uint_as_float(b[8]);
        const int zero = static_cast<int>(b[9]);
        const float low = step * (wide ? __uint_as_float(pair << 16) : half.x);
        const float high = step * (wide ? __uint_as_float(pair & 0xffff0000u) : half.y);
        total[0] = fmaf(low, static_cast<float>(sums[0] * 256 + sums[1] - zero), total[0]);
        total[2] = fmaf(high, static_cast<float>(sums[2] * 256 + sums[3] - zero), total[2]);
    }

  private:
    /// 32 inputs: the even nibbles of a word are row g's, the odd ones row g + 8's.
    __device__ static void multiply_bytes(int (&c)[4], uint32_t near, uint32_t far, uint32_t b0,
                                          uint32_t b1) {
        asm volatile(
            "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(near & 0x0f0f0f0fu), "r"(near >> 4 & 0x0f0f0f0fu), "r"(far & 0x0f0f0f0fu),
              "r"(far >> 4 & 0x0f0f0f0fu), "r"(b0), "r"(b1));
    }
};

}  // namespace sheaf::cuda
