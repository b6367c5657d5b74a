// The one register tile that every product here is made of: R rows x 4 column blocks of kLanes,
// accumulated over k. B is packed so that one k is up to four neighbouring vectors.
#pragma once
#include "layout.h"
#include "vector.h"

namespace {

using longshort::kGates;
using longshort::Plan;
using longshort::Range;
using longshort::smaller;
using longshort::states_of;

constexpr int kMaxRows = LONGSHORT_ROWS;
// Units in a block: one vector. A tile of four vectors then holds all gates of its units.
constexpr int64_t kBlock = kLanes;
constexpr int64_t kTile = kGates * kBlock;

inline int64_t blocks_of(int64_t columns) { return longshort::ceil_div(columns, kBlock); }

// Hands out parts of one block of scratch; with no block it only counts.
struct Taker {
  float* data;
  int64_t used;
  float* take(int64_t floats) {
    float* p = data && floats ? data + used : nullptr;
    used += longshort::cache_lines(floats);
    return p;
  }
};

template <int R, int N>
struct Tile {
  Vector sum[R][N];
};

// Written out: for `= {}` GCC fills the tile's place in memory by string instructions, which took a sixth of
// a product's time (layer norm's, 128 units), and reads it from there.
template <int R, int N>
LONGSHORT_INLINE void clear(Tile<R, N>& tile) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) tile.sum[r][n] = Vector{};
}

// The left factor of a tile: element (r, k) is at row[r][k * step].
template <int R>
struct Left {
  const float* row[R];
  int64_t step;
};
// Rows at equal distances.
template <int R>
LONGSHORT_INLINE Left<R> left_at(const float* data, int64_t stride, int64_t step) {
  Left<R> left;
  for (int r = 0; r < R; ++r) left.row[r] = data + r * stride;
  left.step = step;
  return left;
}

// sum[r][n] += left(r, k) * right[(k * N + n) * kLanes + lane], over k = 0..depth-1.
//
// A right factor is loaded once, kept from the compiler that would read it from memory for each row:
// loads, not products, would then be the limit of a tile of two rows. That and two k a turn took such
// a tile from 1.85 to 1.4 ns a k with AVX2, and one of three from 2.1 to 1.95.
template <int R, int N>
LONGSHORT_INLINE void multiply(Tile<R, N>& tile, Left<R> left, const float* right, int64_t depth) {
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; ++k) {
    Vector a[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) a[r] = splat(left.row[r][k * left.step]);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      const Vector b = in_register(load(right + (k * N + n) * kBlock));
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) tile.sum[r][n] = mul_add(a[r], b, tile.sum[r][n]);
    }
  }
}

// Calls body(row, Rows<R>) for one tile of `rows` rows, 1..kMaxRows.
template <int R>
struct Rows {
  static constexpr int count = R;
};
template <int R = kMaxRows, class Body>
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

// Calls body over `range` in tiles of nearly equal height: 20 rows as 5 + 5 + 5 + 5 and not
// 6 + 6 + 6 + 2, since a low tile leaves the multipliers idle.
template <class Body>
LONGSHORT_INLINE void for_rows(Range range, Body body) {
  const int64_t tiles = longshort::ceil_div(range.size(), kMaxRows);
  for (int64_t i = 0; i < tiles; ++i) {
    const Range rows = longshort::part(range.size(), i, tiles);
    call_rows(rows.size(), range.begin + rows.begin, body);
  }
}

inline int64_t num_tiles(int64_t rows, int64_t height) { return longshort::ceil_div(rows, height); }

// Calls body(range) for the places in [from, to) that are a thread's own, in ranges of at most
// Height that lie in one tile; a place belongs to the same thread at every step. By rows, the tiles
// of a ragged batch go round the threads like cards, so that each has long rows and short ones;
// else a thread's lie side by side, since two threads at work in one cache line wait for each other.
template <int Height = kMaxRows, class Body>
LONGSHORT_INLINE void for_places(const Plan& plan, int thread, int64_t batch, int64_t from,
                                 int64_t to, Body body) {
  const int64_t threads = plan.by_rows ? plan.threads : 1, index = plan.by_rows ? thread : 0;
  const int64_t fewest = num_tiles(batch, Height), share = longshort::ceil_div(fewest, threads);
  const int64_t tiles = plan.fixed_tiles ? fewest : share * threads;
  for (int64_t i = 0; i < share; ++i) {
    const int64_t tile = plan.ragged ? index + i * threads : index * share + i;
    if (tile >= tiles) break;
    Range own = longshort::part(batch, tile, tiles);
    if (own.begin < from) own.begin = from;
    if (own.end > to) own.end = to;
    if (own.begin < own.end) body(own);
  }
}

// Calls body(first block, Blocks<N>) over `range` of column blocks, four at a time.
template <int N>
struct Blocks {
  static constexpr int count = N;
};
template <class Body>
LONGSHORT_INLINE void for_blocks(Range range, Body body) {
  int64_t block = range.begin;
  for (; block + 4 <= range.end; block += 4) body(block, Blocks<4>{});
  switch (range.end - block) {
    case 3: body(block, Blocks<3>{}); break;
    case 2: body(block, Blocks<2>{}); break;
    case 1: body(block, Blocks<1>{}); break;
    default: break;
  }
}

// Keras' (depth, 4H) weights -> one panel (depth, 4, kLanes) of the units of `block`.
inline void pack_gates(const float* weights, int64_t depth, int64_t units, int64_t block,
                       float* out) {
  const int64_t first = block * kBlock;
  const int64_t width = smaller(kBlock, units - first);
  for (int64_t k = 0; k < depth; ++k, out += kTile) {
    for (int64_t g = 0; g < kGates; ++g)
      store(out + g * kBlock, load_n(weights + (k * kGates + g) * units + first, width));
  }
}

// The same for per-gate factors on the left: out of (gates, depth, count, kLanes), for column blocks
// `block` .. `block` + count - 1 of which `weights` are `depth` rows from row `from` on, a tile takes one
// gate of several blocks, and its left factor is one gate's. With the four gates of one block it would
// need a broadcast for each product: 16 loads for 12 of them, in a tile of three rows.
inline void pack_gates_apart(const float* weights, int64_t depth, int64_t units, int64_t block,
                             int64_t count, int64_t from, int64_t all_depth, float* out) {
  for (int64_t g = 0; g < kGates; ++g) {
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t n = 0; n < count; ++n) {
        const int64_t unit = (block + n) * kBlock;
        store(out + ((g * all_depth + from + k) * count + n) * kBlock,
              load_n(weights + (k * kGates + g) * units + unit, units - unit));
      }
    }
  }
}

// The cell: from z of the four gates and c_{t-1} to the gates' values, c_t and h_t.
struct Cell {
  Vector i, f, g, o, c, h;
};
LONGSHORT_INLINE Cell make_cell(const Vector (&z)[4], Vector c_prev) {
  Cell cell;
  cell.i = sigmoid(z[0]);
  cell.f = sigmoid(z[1]);
  cell.g = tanh(z[2]);
  cell.o = sigmoid(z[3]);
  cell.c = mul_add(cell.f, c_prev, cell.i * cell.g);
  cell.h = cell.o * tanh(cell.c);
  return cell;
}

}  // namespace
