// Products with transposed weights: out = dz W^T, for the gradient towards h and towards x.
//
// The rows of dz are dense here, (P, 4, kLanes) each, unlike the saved dz, whose blocks lie far
// apart: a tile that jumps between them waits for the memory. Plain: out = sum over gates and units, a tile is up to four
// blocks of output columns. Gated (per-gate dropout): each gate's sum is kept apart in the tile's
// four column blocks, then weighted by its own factors; a tile is one output block.
#pragma once
#include "cell_forward.h"

namespace {

// Keras' (columns, 4H) weights for the output columns of `count` blocks from `first`.
// Plain: (P, 4, kLanes, count, kLanes) [unit block, gate, unit, column block, column].
// Gated: (P, kLanes, 4, kLanes)        [unit block, unit, gate, column], count = 1.
inline void pack_transposed(const float* weights, int64_t columns, int64_t units, int64_t first,
                            int64_t count, bool gated, float* out) {
  const int64_t P = blocks_of(units);
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t p = 0; p < P; ++p) {
      for (int64_t g = 0; g < kGates; ++g) {
        // By squares, so that each cache line of the weights is read once: their rows are often a
        // power of two apart and then fall into the same few sets of the cache.
        float square[kBlock][kBlock] = {};
        const int64_t unit = p * kBlock, column = (first + n) * kBlock;
        const int64_t real_units = smaller(kBlock, units - unit);
        const int64_t real_columns = smaller(kBlock, columns - column);
        for (int64_t j = 0; j < real_columns; ++j)
          for (int64_t u = 0; u < real_units; ++u)
            square[u][j] = weights[(column + j) * kGates * units + g * units + unit + u];
        for (int64_t u = 0; u < kBlock; ++u) {
          float* row = gated ? out + ((p * kBlock + u) * kGates + g) * kBlock
                             : out + (((p * kGates + g) * kBlock + u) * count + n) * kBlock;
          memcpy(row, square[u], sizeof square[u]);
        }
      }
    }
  }
}

inline int64_t transposed_size(int64_t columns, int64_t units, bool gated) {
  return blocks_of(units) * kTile * blocks_of(columns) * kBlock * (gated ? kGates : 1);
}
// Where the packed weights of the tile that begins with `block` begin.
inline int64_t transposed_at(int64_t units, int64_t block, bool gated) {
  return block * kBlock * blocks_of(units) * kTile * (gated ? kGates : 1);
}

// Packs the tiles of `columns`' blocks that `mine` says, one behind the other as for_blocks goes.
template <class Mine>
void pack_tiles(const float* weights, int64_t columns, int64_t units, Range blocks, bool gated,
                float* out, Mine mine) {
  for_blocks(blocks, [&](int64_t block, auto width) {
    constexpr int64_t count = decltype(width)::count;
    if (!mine()) return;
    if (gated) {
      for (int64_t n = 0; n < count; ++n)
        pack_transposed(weights, columns, units, block + n, 1, true,
                        out + transposed_at(units, block + n, true));
    } else {
      pack_transposed(weights, columns, units, block, count, false,
                      out + transposed_at(units, block, false));
    }
  });
}

// The row's own factors of the four gates for kLanes columns; row[r] is gate 0's.
template <int R>
struct Factors {
  const float* row[R];
  int64_t gate, width;
};

// out = R rows of dz, `width` floats each, times the output blocks packed at `weights`.
template <bool Gated, int R, int N>
LONGSHORT_INLINE void transposed_tile(Tile<R, N>& out, const float* dz, int64_t width,
                                      const float* weights, const Factors<R>& factors) {
  if constexpr (Gated) {
    static_assert(N == 1, "a gated tile is one output block");
    Tile<R, 4> sums = {};
    for (int64_t k = 0; k < width; k += kTile)
      multiply<true>(sums, left_at<R>(dz + k, width, 1, kBlock), weights + k * kBlock, kBlock);
    for (int r = 0; r < R; ++r) {
      out.sum[r][0] = Vector{};
      for (int g = 0; g < 4; ++g)
        out.sum[r][0] = mul_add(load_n(factors.row[r] + g * factors.gate, factors.width),
                                sums.sum[r][g], out.sum[r][0]);
    }
  } else {
    out = {};
    multiply<false>(out, left_at<R>(dz, width, 1, 0), weights, width);
  }
}

}  // namespace
