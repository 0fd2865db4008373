// The eight tile registers of AMX, and the same in plain instructions. Tiles 0 to 3 are sums of 16 f32
// columns, 4 and 5 rows of activations (32 bf16), 6 and 7 weights (16 pairs of inputs by 16 outputs); a
// tile's row is 64 bytes, in memory too. The product adds to every sum, in this order, with denormal numbers
// taken for zeros:
//   even = sum over pairs, in order, of fma(a even, b even), from 0;   odd likewise;   sum += even + odd
// Used by the matrix product of this folder only.
#pragma once

#include "backend/cpu/isa/simd.h"

namespace sheaf::cpu::SHEAF_ISA {

constexpr int tile_rows = 16, tile_row_bytes = 64, tile_bytes = tile_rows * tile_row_bytes;
constexpr int first_row_tile = 4, first_weight_tile = 6;

/// Denormal numbers count as zeros while this lives, as they do in tiles: without it the plain instructions
/// that scale, emulate or replace them would differ.
class FlushDenormals {
  public:
    FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | flush_to_zero | denormals_are_zeros); }
    ~FlushDenormals() { _mm_setcsr(saved_); }
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

  private:
    static constexpr unsigned flush_to_zero = 0x8000, denormals_are_zeros = 0x40;
    unsigned saved_;
};

// Plain asm: the intrinsics of GCC 12 say too little about the memory they touch, and their stores get lost.
struct HardwareTiles {
    /// Rows of activations and of sums, 1 to 16. Clears all tiles where the height changes.
    static void configure(int64_t height) {
        thread_local int64_t configured = 0;
        if (configured == height) return;
        configured = height;
        struct alignas(64) Configuration {
            uint8_t palette = 1, start_row = 0, reserved[14] = {};
            uint16_t row_bytes[16] = {};
            uint8_t rows[16] = {};
        } configuration;
        for (int t = 0; t < 8; ++t) {
            configuration.row_bytes[t] = tile_row_bytes;
            configuration.rows[t] = t < first_weight_tile ? static_cast<uint8_t>(height) : tile_rows;
        }
        asm volatile("ldtilecfg %0" : : "m"(configuration) : "memory");
    }
    template <int T>
    static SHEAF_SIMD void clear() {
        asm volatile("tilezero %%tmm%c0" : : "i"(T));
    }
    template <int T>
    static SHEAF_SIMD void load(const void* at) {
        asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
                     :
                     : "r"(at), "r"(static_cast<int64_t>(tile_row_bytes)), "i"(T)
                     : "memory");
    }
    template <int T>
    static SHEAF_SIMD void store(void* at) {
        asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
                     :
                     : "r"(at), "r"(static_cast<int64_t>(tile_row_bytes)), "i"(T)
                     : "memory");
    }
    template <int Sum, int Rows, int Weights>
    static SHEAF_SIMD void multiply() {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(Rows), "i"(Weights));
    }
};

/// Wants FlushDenormals.
struct EmulatedTiles {
    struct Registers {
        int64_t height = 0;
        alignas(64) uint8_t tile[8][tile_bytes];
    };
    static Registers& registers() {
        thread_local Registers all;
        return all;
    }
    static int64_t rows_of(int t) { return t < first_weight_tile ? registers().height : tile_rows; }

    static void configure(int64_t height) { registers().height = height; }
    template <int T>
    static void clear() {
        __builtin_memset(registers().tile[T], 0, tile_bytes);
    }
    template <int T>
    static void load(const void* at) {
        __builtin_memcpy(registers().tile[T], at, static_cast<size_t>(rows_of(T) * tile_row_bytes));
    }
    template <int T>
    static void store(void* at) {
        __builtin_memcpy(at, registers().tile[T], static_cast<size_t>(rows_of(T) * tile_row_bytes));
    }
    template <int Sum, int Rows, int Weights>
    static void multiply() {
        Registers& all = registers();
        const i32x16 high = set1(static_cast<int32_t>(0xffff0000));
        for (int64_t r = 0; r < all.height; ++r) {
            const auto* pairs = reinterpret_cast<const int32_t*>(all.tile[Rows] + r * tile_row_bytes);
            auto* sums = reinterpret_cast<float*>(all.tile[Sum] + r * tile_row_bytes);
            f32x16 even = zero(), odd = zero();
            for (int k = 0; k < tile_rows; ++k) {
                const i32x16 a = set1(pairs[k]), b = load_i32(all.tile[Weights] + k * tile_row_bytes);
                even = fma(as_float(shift_left<16>(a)), as_float(shift_left<16>(b)), even);
                odd = fma(as_float(bit_and(a, high)), as_float(bit_and(b, high)), odd);
            }
            cpu::SHEAF_ISA::store(sums, add(cpu::SHEAF_ISA::load(sums), add(even, odd)));
        }
    }
};

}  // namespace sheaf::cpu::SHEAF_ISA
