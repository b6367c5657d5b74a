// Products with transposed weights: out = dz W^T, for the gradient towards h and towards x.
//
// The rows of dz are dense here, (P, 4, kLanes) each, unlike the saved dz, whose blocks lie far
// apart: a tile that jumps between them waits for the memory. A tile is up to four blocks of output
// columns, summed over gates and units; with per-gate dropout the gates one after the other, each sum
// then weighted by its own factors.
#pragma once
#include "cell_forward.h"

namespace {

// Keras' (columns, 4H) weights for the output columns of `count` blocks from `first`:
// (P, 4, kLanes, count, kLanes) [unit block, gate, unit, column block, column].
inline void pack_transposed(const float* weights, int64_t columns, int64_t units, int64_t first,
                            int64_t count, float* out) {
  const int64_t P = blocks_of(units);
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t p = 0; p < P; ++p) {
      for (int64_t g = 0; g < kGates; ++g) {
        // By squares, so that each cache line of the weights is read once: their rows are often a
        // power of two apart and then fall into the same few sets of the cache.
        const int64_t unit = p * kBlock, column = (first + n) * kBlock;
        turn_part(weights + (column * kGates + g) * units + unit, kGates * units,
                  smaller(kBlock, columns - column), units - unit,
                  out + ((p * kGates + g) * kBlock * count + n) * kBlock, count * kBlock);
      }
    }
  }
}

inline int64_t transposed_size(int64_t columns, int64_t units) {
  return blocks_of(units) * kTile * blocks_of(columns) * kBlock;
}
// The packed weights of the tile that begins with `block`, in all of them.
inline float* tile_weights(float* weights, int64_t units, int64_t block) {
  return weights + block * kBlock * blocks_of(units) * kTile;
}

// Packs the tiles of `columns`' blocks that `mine` says, one behind the other as for_blocks goes.
template <class Mine>
void pack_tiles(const float* weights, int64_t columns, int64_t units, Range blocks, float* out,
                Mine mine) {
  for_blocks(blocks, [&](int64_t block, auto width) {
    if (mine())
      pack_transposed(weights, columns, units, block, decltype(width)::count,
                      tile_weights(out, units, block));
  });
}

// The row's own factors of the four gates, from the tile's first column on; row[r] is gate 0's.
template <int R>
struct Factors {
  const float* row[R];
  int64_t gate, width;
};

// out = R rows of dz, `width` floats each, times the output blocks packed at `weights`.
template <bool Gated, int R, int N>
LONGSHORT_INLINE void transposed_tile(Tile<R, N>& out, const float* dz, int64_t width,
                                      const float* weights, const Factors<R>& factors) {
  clear(out);
  if constexpr (Gated) {
    for (int64_t g = 0; g < kGates; ++g) {
      Tile<R, N> sums;
      clear(sums);
      for (int64_t k = g * kBlock; k < width; k += kTile)
        multiply(sums, left_at<R>(dz + k, width, 1), weights + k * N * kBlock, kBlock);
      for (int r = 0; r < R; ++r) {
        for (int n = 0; n < N; ++n) {
          const Vector factor = load_n(factors.row[r] + g * factors.gate + n * kBlock,
                                       factors.width - n * kBlock);
          out.sum[r][n] = mul_add(factor, sums.sum[r][n], out.sum[r][n]);
        }
      }
    }
  } else {
    multiply(out, left_at<R>(dz, width, 1), weights, width);
  }
}

}  // namespace
