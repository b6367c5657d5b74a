// Products with transposed weights: out = dz W^T, for the gradient towards h and towards x.
//
// dz is (P, M, 4, 16): P unit blocks of M rows. Plain: out = sum over gates and units, a tile is
// up to four blocks of output columns. Gated (per-gate dropout): each gate's sum is kept apart in
// the tile's four column blocks, then weighted by its own factors; a tile is one output block.
#pragma once
#include "forward.h"

namespace {

// Keras' (columns, 4H) weights for the output columns of N blocks from `first`.
// Plain: (P, 4, 16, N, 16) [unit block, gate, unit, column block, column].
// Gated: (P, 16, 4, 16)    [unit block, unit, gate, column], N = 1.
inline void pack_transposed(const float* weights, int64_t columns, int64_t units, int64_t first,
                            int64_t count, bool gated, float* out) {
  const int64_t P = blocks_of(units);
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t p = 0; p < P; ++p) {
      for (int64_t g = 0; g < kGates; ++g) {
        // By squares of 16 x 16, so that each cache line of the weights is read once: their rows
        // are often a power of two apart and then fall into the same few sets of the cache.
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

// out[r][n]: R rows of dz from `dz`, the output blocks packed at `weights`, lanes from `lane`.
// `factors`: for the gated form, (4, rows, columns) at the first row and column of the tile.
template <bool Gated, int R, int N>
LONGSHORT_INLINE void transposed_tile(Tile<R, N>& out, const float* dz, int64_t block_stride,
                                      int64_t P, const float* weights, const float* factors,
                                      int64_t gate_stride, int64_t row_stride, int64_t width) {
  if constexpr (Gated) {
    static_assert(N == 1, "a gated tile is one output block");
    Tile<R, 4> sums = {};
    for (int64_t p = 0; p < P; ++p) {
      multiply<true>(sums, Left{dz + p * block_stride, kTile, 1, kBlock},
                     weights + p * kBlock * kTile, kBlock);
    }
    for (int r = 0; r < R; ++r) {
      out.sum[r][0] = Vector{};
      for (int g = 0; g < 4; ++g) {
        const Vector factor =
            factors ? load_n(factors + g * gate_stride + r * row_stride, width) : splat(1.0f);
        out.sum[r][0] += factor * sums.sum[r][g];
      }
    }
  } else {
    out = {};
    for (int64_t p = 0; p < P; ++p) {
      multiply<false>(out, Left{dz + p * block_stride, kTile, 1, 0},
                      weights + p * kTile * N * kBlock, kTile);
    }
  }
}

}  // namespace
