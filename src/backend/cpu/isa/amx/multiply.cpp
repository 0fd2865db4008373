// Rows of activations in bf16 by packed weights, in tiles of 16 rows x 16 outputs. The arithmetic, one row or
// many, is
//   part = sum over the group's k-blocks, in order, of (even + odd)  (tiles.h);   y = sum over groups, in
//   order, of fma(scale, part)
// where bf16 weights are one group without a scale, and a zero point is subtracted from its codes, exactly.
// Up to 16 rows take four tiles of weights at a time: bound by memory or by the decoding of int4, which runs
// ahead of the products by one k-block. More take two by two, and pass by while a piece of the weights stays
// decoded.
#include "backend/cpu/isa/amx/multiply.h"

#include "backend/cpu/isa/amx/weight_tiles.h"

namespace sheaf::cpu::SHEAF_ISA {
namespace {

constexpr int most_row_blocks = 6;  // whose sums stay in the nearest cache

/// Sums of R blocks of rows by T tiles: tile register r * T + t, in memory [r][t][16][16].
template <class Tiles, int R, int T>
struct Sums {
    static_assert(R * T <= 4 && R <= 2);

    template <int I = 0>
    static SHEAF_SIMD void clear() {
        Tiles::template clear<I>();
        if constexpr (I + 1 < R * T) clear<I + 1>();
    }
    template <int I = 0>
    static SHEAF_SIMD void load(const float* memory) {
        Tiles::template load<I>(memory + I * tile_rows * lanes);
        if constexpr (I + 1 < R * T) load<I + 1>(memory);
    }
    template <int I = 0>
    static SHEAF_SIMD void store(float* memory) {
        Tiles::template store<I>(memory + I * tile_rows * lanes);
        if constexpr (I + 1 < R * T) store<I + 1>(memory);
    }
    /// One k-block: rows [R] blocks at `rows`, row_stride bytes apart.
    template <class Weights, int I = 0>
    static SHEAF_SIMD void add(const Weights& weights, const Piece& piece, int64_t block, const uint8_t* rows,
                               int64_t row_stride) {
        if constexpr (I == 0) {
            Tiles::template load<first_row_tile>(rows);
            if constexpr (R == 2) Tiles::template load<first_row_tile + 1>(rows + row_stride);
        }
        constexpr int b = first_weight_tile + I % 2;
        Tiles::template load<b>(weights.tile(piece, I, block));
        Tiles::template multiply<I, first_row_tile, b>();
        if constexpr (R == 2) Tiles::template multiply<T + I, first_row_tile + 1, b>();
        if constexpr (I + 1 < T) add<Weights, I + 1>(weights, piece, block, rows, row_stride);
    }
};

/// The end of a group: `sums` [T][16][16] of `rows` rows join y.
template <int T>
void add_group(const PackedMatrix& w, const uint8_t* tile, int64_t group, const float* sums, int64_t rows,
               float* y, int64_t y_stride) {
    for (int t = 0; t < T; ++t) {
        const float* part = sums + t * tile_rows * lanes;
        float* out = y + t * lanes;
        if (w.scale == ScaleFormat::none) {
            for (int64_t r = 0; r < rows; ++r) store(out + r * y_stride, load(part + r * lanes));
            continue;
        }
        const f32x16 scale = load_scale(w, tile + t * w.tile_bytes, group);
        for (int64_t r = 0; r < rows; ++r) {
            const f32x16 total = group == 0 ? zero() : load(out + r * y_stride);
            store(out + r * y_stride, fma(scale, load(part + r * lanes), total));
        }
    }
}

/// At most most_row_blocks blocks of rows by T tiles from `tile`.
template <class Tiles, template <int> class Weights, int T>
class Strip {
  public:
    Strip(const PackedMatrix& w, const PackedRows& x, const uint8_t* tile, float* y, int64_t y_stride)
        : w_(w),
          x_(x),
          tile_(tile),
          y_(y),
          y_stride_(y_stride),
          weights_(w, tile),
          walk_(weights_.walk(x.rows <= at_once * x.height)),
          row_bytes_(w.k_blocks() * tile_row_bytes) {}

    void run() {
        const int64_t blocks = (x_.rows + x_.height - 1) / x_.height;
        Piece piece = walk_.first();
        weights_.make(piece, 0);
        for (;;) {
            for (int64_t b = 0; b < blocks; b += at_once) {
                if constexpr (at_once == 2) {
                    if (b + 1 < blocks) {
                        add_piece<2>(piece, b, blocks <= at_once);
                        continue;
                    }
                }
                add_piece<1>(piece, b, blocks <= at_once);
            }
            if (walk_.ends_with(piece)) return;
            piece = walk_.after(piece);
        }
    }

  private:
    static constexpr int at_once = T <= 2 ? 2 : 1;  // blocks of rows whose sums fit into the tiles

    /// Blocks of rows [block, block + R); the first ones have the weights made as they go.
    template <int R>
    SHEAF_SIMD void add_piece(const Piece& piece, int64_t block, bool sums_stay) {
        using TileSums = Sums<Tiles, R, T>;
        float* sums = sums_ + block * T * tile_rows * lanes;
        const int64_t stride = x_.height * row_bytes_;
        const uint8_t* rows = static_cast<const uint8_t*>(x_.data) + block * stride +
                              piece.first_block * x_.height * tile_row_bytes;
        if (piece.opens) {
            TileSums::clear();
        } else if (!sums_stay) {
            TileSums::load(sums);
        }
        for (int64_t k = 0; k < piece.blocks; ++k) {
            if (block == 0) make_after(piece, k);
            TileSums::add(weights_, piece, k, rows + k * x_.height * tile_row_bytes, stride);
        }
        if (piece.closes || !sums_stay) TileSums::store(sums);
        if (!piece.closes) return;
        for (int r = 0; r < R; ++r) {
            const int64_t row = (block + r) * x_.height, left = x_.rows - row;
            add_group<T>(w_, tile_, piece.group, sums + r * T * tile_rows * lanes,
                         left < x_.height ? left : x_.height, y_ + row * y_stride_, y_stride_);
        }
    }

    /// Makes the k-block that follows: the stores of one have reached the cache when its turn comes.
    SHEAF_SIMD void make_after(const Piece& piece, int64_t k) {
        if (k + 1 < piece.blocks) {
            weights_.make(piece, k + 1);
        } else if (!walk_.ends_with(piece)) {
            weights_.make(walk_.after(piece), 0);
        }
    }

    const PackedMatrix& w_;
    const PackedRows& x_;
    const uint8_t* tile_;
    float* y_;
    int64_t y_stride_;
    Weights<T> weights_;
    Walk walk_;
    int64_t row_bytes_;
    alignas(64) float sums_[(at_once == 1 ? 1 : most_row_blocks) * T * tile_rows * lanes];
};

template <class Tiles, template <int> class Weights>
void multiply_strip(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* y) {
    const int64_t stride = count * lanes;
    const uint8_t* data = w.data + tile * w.tile_bytes;
    auto run = [&](auto strip_of, int64_t tiles) {
        strip_of(data);
        data += tiles * w.tile_bytes;
        y += tiles * lanes;
        count -= tiles;
    };
    if (x.rows <= x.height)
        while (count >= 4)
            run([&](const uint8_t* at) { Strip<Tiles, Weights, 4>(w, x, at, y, stride).run(); }, 4);
    while (count >= 2)
        run([&](const uint8_t* at) { Strip<Tiles, Weights, 2>(w, x, at, y, stride).run(); }, 2);
    if (count == 1) Strip<Tiles, Weights, 1>(w, x, data, y, stride).run();
}

template <class Tiles>
__attribute__((noinline)) void multiply_rows(const PackedMatrix& w, const PackedRows& x, int64_t tile,
                                             int64_t count, float* y) {
    Tiles::configure(x.height);
    const int64_t most = most_row_blocks * x.height;
    PackedRows strip = x;
    for (int64_t row = 0; row < x.rows; row += most) {
        strip.data = static_cast<const uint8_t*>(x.data) + row * w.k_blocks() * tile_row_bytes;
        strip.rows = x.rows - row < most ? x.rows - row : most;
        float* out = y + row * count * lanes;
        if (w.format == NumberFormat::bf16) {
            multiply_strip<Tiles, Bf16Tiles>(w, strip, tile, count, out);
        } else {
            multiply_strip<Tiles, Int4Tiles>(w, strip, tile, count, out);
        }
    }
}

}  // namespace

void multiply(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* y) {
    if (x.form == RowForm::floats) return avx512::kernels.multiply(w, x, tile, count, y);
    const FlushDenormals flush;
    if (x.height == 1) return multiply_row(w, static_cast<const uint16_t*>(x.data), tile, count, y);
    multiply_rows<HardwareTiles>(w, x, tile, count, y);
}

void multiply_emulated(const PackedMatrix& w, const PackedRows& x, int64_t tile, int64_t count, float* y) {
    if (x.form == RowForm::floats) return avx512::kernels.multiply(w, x, tile, count, y);
    const FlushDenormals flush;
    if (x.height == 1) return multiply_row(w, static_cast<const uint16_t*>(x.data), tile, count, y);
    multiply_rows<EmulatedTiles>(w, x, tile, count, y);
}

float burn(int64_t rounds) {
    HardwareTiles::configure(tile_rows);
    HardwareTiles::clear<4>();
    HardwareTiles::clear<6>();
    for (int64_t i = 0; i < rounds; ++i) {
        HardwareTiles::multiply<0, 4, 6>();
        HardwareTiles::multiply<1, 4, 6>();
        HardwareTiles::multiply<2, 4, 6>();
        HardwareTiles::multiply<3, 4, 6>();
    }
    return 0.0f;
}

}  // namespace sheaf::cpu::SHEAF_ISA
