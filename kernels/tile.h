// The one register tile that every product here is made of: R rows x 4 column blocks of kLanes,
// accumulated over k. B is packed so that one k is up to 64 neighbouring floats.
#pragma once
#include "layout.h"
#include "vector.h"

namespace {

using longshort::kBlock;
using longshort::kGates;
using longshort::kTile;

constexpr int kMaxRows = LONGSHORT_ROWS;
constexpr int kParts = kBlock / kLanes;  // a tile is done in so many parts, by lanes of a block

// The left factor: element (row, k) of gate g is at data[g * gate + row * row_stride + k * k_stride].
struct Left {
  const float* data;
  int64_t row_stride, k_stride, gate;
  Left at(int64_t row) const {
    return Left{data + row * row_stride, row_stride, k_stride, gate};
  }
};

template <int R, int N>
struct Tile {
  Vector sum[R][N];
};

// sum[r][n] += left(r, k) * right[k * N * 16 + n * 16 + lane], over k = 0..depth-1.
// Gated: column block n is gate n and takes the left factor of its own gate.
template <bool Gated, int R, int N>
LONGSHORT_INLINE void multiply(Tile<R, N>& tile, const Left& left, const float* right,
                               int64_t depth) {
  const float* row[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) row[r] = left.data + r * left.row_stride;
  const int64_t step = left.k_stride;
  for (int64_t k = 0; k < depth; ++k) {
    Vector b[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) b[n] = load(right + n * kBlock);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      if (Gated) {
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) tile.sum[r][n] += splat(row[r][n * left.gate]) * b[n];
      } else {
        const Vector a = splat(*row[r]);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) tile.sum[r][n] += a * b[n];
      }
      row[r] += step;
    }
    right += N * kBlock;
  }
}

// Calls body(row, rows<R>) over `range` in tiles of nearly equal height, at most kMaxRows: 20 rows
// as 5 + 5 + 5 + 5 and not 6 + 6 + 6 + 2, since a low tile leaves the multipliers idle.
template <int R>
struct Rows {
  static constexpr int count = R;
};
template <int R, class Body>
LONGSHORT_INLINE void call_rows(int64_t rows, int64_t row, Body& body) {
  if constexpr (R == 1) {
    body(row, Rows<1>{});
  } else {
    if (rows == R) {
      body(row, Rows<R>{});
    } else {
      call_rows<R - 1>(rows, row, body);
    }
  }
}
template <class Body>
LONGSHORT_INLINE void for_rows(longshort::Range range, Body body) {
  const int64_t tiles = longshort::ceil_div(range.size(), kMaxRows);
  for (int64_t i = 0; i < tiles; ++i) {
    const longshort::Range rows = longshort::part(range.size(), i, tiles);
    call_rows<kMaxRows>(rows.size(), range.begin + rows.begin, body);
  }
}

// Calls body(first block, blocks<N>) over `range` of column blocks, four at a time.
template <int N>
struct Blocks {
  static constexpr int count = N;
};
template <class Body>
LONGSHORT_INLINE void for_blocks(longshort::Range range, Body body) {
  int64_t block = range.begin;
  for (; block + 4 <= range.end; block += 4) body(block, Blocks<4>{});
  switch (range.end - block) {
    case 3: body(block, Blocks<3>{}); break;
    case 2: body(block, Blocks<2>{}); break;
    case 1: body(block, Blocks<1>{}); break;
    default: break;
  }
}

// Keras' (depth, 4H) weights -> one panel of 64 columns: gate g of the 16 units of `block`.
inline void pack_gates(const float* weights, int64_t depth, int64_t units, int64_t block,
                       float* out) {
  const int64_t first = block * kBlock;
  const int64_t width = longshort::smaller(kBlock, units - first);
  for (int64_t k = 0; k < depth; ++k, out += kTile) {
    for (int64_t g = 0; g < kGates; ++g) {
      const float* in = weights + k * kGates * units + g * units + first;
      for (int64_t j = 0; j < kBlock; ++j) out[g * kBlock + j] = j < width ? in[j] : 0.0f;
    }
  }
}

}  // namespace
