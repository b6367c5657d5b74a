// Products of bfloat16 factors with float32 sums, where the CPU has instructions for them: AMX tiles
// or AVX-512's dot product. Other sets compute in float32, which is faster there than rounding.
#pragma once
#include "pieces.h"

#if LONGSHORT_AMX
#include "amx.h"
#endif

namespace {

// out[r][n] (+)= left(r, k) right(k, n) over k, for `rows` rows and N column blocks.
struct Product {
  Pieces pieces;
  int64_t chunks;  // of the depth
  const Bfloat16* left;
  int64_t left_stride, left_step;  // from one row to the next, from one chunk
  const Bfloat16* right;
  int64_t right_step;  // from one chunk to the next: N column blocks, or more
  float* out;
  int64_t out_stride;
  bool add;
};
// The usual one, whose left factor has `left_rows` rows.
inline Product whole_product(Pieces pieces, int64_t chunks, const Bfloat16* left, int64_t left_rows,
                             const Bfloat16* right, int64_t right_blocks, float* out, int64_t out_stride,
                             bool add) {
  return Product{pieces, chunks, left, kChunk, left_rows * kChunk, right, right_blocks * kRightTile,
                 out,    out_stride, add};
}

#if LONGSHORT_AMX

// Rows done at once: two tiles, so that each tile of the right factor is used twice.
constexpr int kGroup = 32;

template <int N>
inline void multiply(const Product& p, int64_t rows) {
  const int64_t top = smaller(rows, 16), bottom = rows - top;
  AMX_FENCE();
  amx_configure(static_cast<int>(top), static_cast<int>(bottom));
  const int64_t left_bytes = p.left_stride * 2;
  for (int n = 0; n < N; n += 2) {
    const bool two = n + 1 < N;
    float* out = p.out + n * kLanes;
    // What is there already comes from a cache far away: it is fetched meanwhile and added at the end.
    for (int64_t r = 0; p.add && r < rows; ++r) prefetch<true>(out + r * p.out_stride, two ? 2 * kLanes : kLanes);
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
    const auto load_left = [&](int64_t chunk) {
      const Bfloat16* left = p.left + chunk * p.left_step;
      AMX_LOAD(4, left, left_bytes);
      if (bottom) AMX_LOAD(5, left + 16 * p.left_stride, left_bytes);
    };
    const auto load_right = [&](int64_t chunk) {
      const Bfloat16* right = p.right + chunk * p.right_step + n * kRightTile;
      AMX_LOAD(6, right, 64);
      if (two) AMX_LOAD(7, right + kRightTile, 64);
    };
    const auto dot = [&] {
      AMX_DOT(0, 4, 6);
      if (two) AMX_DOT(1, 4, 7);
      if (bottom) AMX_DOT(2, 5, 6);
      if (bottom && two) AMX_DOT(3, 5, 7);
    };
    if (p.pieces.count == 1) {
      for (int64_t c = 0; c < p.chunks; ++c) {
        load_left(c), load_right(c), dot();
      }
    } else {
      for (int64_t c = 0; c < p.chunks; c += 3) {
        // Pairs of pieces in an order in which each needs but one other factor than the one before.
        load_left(c), load_right(c + 2), dot();
        load_right(c + 1), dot();
        load_left(c + 1), dot();
        load_right(c), dot();
        load_left(c + 2), dot();
        load_left(c), dot();
      }
    }
    alignas(64) float sums[kGroup * 2 * kLanes];
    float* to = p.add ? sums : out;
    const int64_t stride = p.add ? 2 * kLanes : p.out_stride;
    AMX_STORE(0, to, stride * 4);
    if (two) AMX_STORE(1, to + kLanes, stride * 4);
    if (bottom) AMX_STORE(2, to + 16 * stride, stride * 4);
    if (bottom && two) AMX_STORE(3, to + 16 * stride + kLanes, stride * 4);
    AMX_FENCE();
    for (int64_t r = 0; p.add && r < rows; ++r, to += stride, out += p.out_stride)
      for (int i = 0; i < (two ? 2 : 1); ++i)
        store(out + i * kLanes, load(out + i * kLanes) + load(to + i * kLanes));
  }
  AMX_FENCE();
}
// At the end of a thread's share of a call: other code of the thread may use tiles of its own.
inline void end_products() { amx_release(); }

#else

constexpr int kGroup = kMaxRows;

LONGSHORT_INLINE Integers load_pairs(const Bfloat16* p) {
  return reinterpret_cast<Integers>(load(reinterpret_cast<const float*>(p)));
}
LONGSHORT_INLINE Integers splat_pair(const Bfloat16* p) {
  int32_t bits;
  memcpy(&bits, p, sizeof bits);
  return bits - Integers{};
}

template <int R, int N>
LONGSHORT_INLINE void multiply_chunk(Tile<R, N>& tile, const Product& p, int64_t chunk) {
  const Bfloat16 *left = p.left + chunk * p.left_step, *right = p.right + chunk * p.right_step;
  for (int64_t k = 0; k < kChunk; k += 2, right += kLanes * 2) {
#if LONGSHORT_AVX512_BF16 == 1
    for (int r = 0; r < R; ++r) {
      const auto a = reinterpret_cast<__m512bh>(splat_pair(left + r * p.left_stride + k));
      for (int n = 0; n < N; ++n) {
        const auto b = reinterpret_cast<__m512bh>(load_pairs(right + n * kRightTile));
        tile.sum[r][n] =
            _mm512_dpbf16_ps(reinterpret_cast<__m512>(tile.sum[r][n]), a, b);
      }
    }
#else
    // In plain code, for tests: a bfloat16 is the upper half of a float.
    const auto low = [](Integers pair) { return reinterpret_cast<Vector>(pair << 16); };
    const auto high = [](Integers pair) {
      return reinterpret_cast<Vector>(pair & static_cast<int32_t>(0xffff0000));
    };
    Integers a[R];
    for (int r = 0; r < R; ++r) a[r] = splat_pair(left + r * p.left_stride + k);
    for (int n = 0; n < N; ++n) {
      const Vector b = low(load_pairs(right + n * kRightTile));
      for (int r = 0; r < R; ++r) tile.sum[r][n] = mul_add(low(a[r]), b, tile.sum[r][n]);
    }
    for (int n = 0; n < N; ++n) {
      const Vector b = high(load_pairs(right + n * kRightTile));
      for (int r = 0; r < R; ++r) tile.sum[r][n] = mul_add(high(a[r]), b, tile.sum[r][n]);
    }
#endif
  }
}

template <int N>
inline void multiply(const Product& p, int64_t rows) {
  auto tiles = [&](int64_t, auto height) {
    constexpr int R = decltype(height)::count;
    Tile<R, N> tile = {};
    for (int r = 0; p.add && r < R; ++r)
      for (int n = 0; n < N; ++n) tile.sum[r][n] = load(p.out + r * p.out_stride + n * kLanes);
    for (int64_t chunk = 0; chunk < p.chunks; ++chunk) multiply_chunk(tile, p, chunk);
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) store(p.out + r * p.out_stride + n * kLanes, tile.sum[r][n]);
  };
  call_rows(rows, 0, tiles);
}

inline void end_products() {}

#endif

// The same where each gate has a left factor of its own, `gate` behind the one before; N = 4.
inline void multiply_gated(Product p, int64_t rows, int64_t gate) {
  for (int64_t g = 0; g < kGates; ++g) {
    multiply<1>(p, rows);
    p.left += gate;
    p.right += kRightTile;
    p.out += kLanes;
  }
}

inline int64_t own_height(const longshort_lstm& a) { return in_bfloat16(a) ? kGroup : kMaxRows; }
// for_places in the ranges that the products of a call go in: a place then belongs to the same
// thread in all that is done at a step.
template <class Body>
inline void for_own_places(const longshort_lstm& a, const Plan& plan, int thread, int64_t from,
                           int64_t to, Body body) {
  if (in_bfloat16(a)) {
    for_places<kGroup>(plan, thread, a.batch, from, to, body);
  } else {
    for_places(plan, thread, a.batch, from, to, body);
  }
}

// Keras' (depth, 4H) weights -> the right factor of one block, its four gates as column blocks.
inline void pack_gates(const float* weights, int64_t depth, int64_t units, int64_t block,
                       Bfloat16* out, Pieces pieces) {
  const int64_t first = block * kBlock, width = units - first, step = kGates * kRightTile;
  const auto row = [&](int64_t k, int64_t g) {
    return k < depth ? load_n(weights + (k * kGates + g) * units + first, width) : Vector{};
  };
  for (int64_t k = 0; k < whole_chunks(depth); k += 2)
    for (int64_t g = 0; g < kGates; ++g)
      store_pairs(out + pieces.in_column(k, step) + g * kRightTile, row(k, g), row(k + 1, g), pieces, step);
}

// Keras' (columns, 4H) weights, transposed, for `count` blocks of columns from `first`: the right
// factor, its depth the units of one gate after the other.
inline void pack_transposed(const float* weights, int64_t columns, int64_t units, int64_t first,
                            int64_t count, Bfloat16* out, Pieces pieces) {
  const int64_t step = count * kRightTile;
  for (int64_t n = 0; n < count; ++n) {
    const int64_t column = (first + n) * kBlock, real_columns = smaller(kBlock, columns - column);
    for (int64_t g = 0; g < kGates; ++g) {
      for (int64_t unit = 0; unit < units; unit += kChunk) {
        float square[kChunk][kBlock];  // by squares, as in transposed.h
        for (int64_t u = 0; u < kChunk; u += kLanes)
          turn_part(weights + (column * kGates + g) * units + unit + u, kGates * units, real_columns,
                    units - unit - u, square[u], kBlock);
        Bfloat16* to = out + (g * pieces.chunks(units) + pieces.chunk(unit)) * step + n * kRightTile;
        for (int64_t u = 0; u < kChunk; u += 2, to += 2 * kLanes)
          store_pairs(to, load(square[u]), load(square[u + 1]), pieces, step);
      }
    }
  }
}
// bfloat16s that the packed weights of blocks before `block` take.
inline int64_t transposed_at(int64_t units, int64_t block, Pieces pieces) {
  return block * kBlock * kGates * pieces.room(units);
}

// For per-gate dropout behind a transposed product: each gate's sum apart, side by side in `out`,
// for column block n of the packed ones.
inline void multiply_gates_apart(Product p, int64_t rows, int64_t n) {
  p.right += n * kRightTile;
  p.chunks /= kGates;
  for (int64_t g = 0; g < kGates; ++g) {
    multiply<1>(p, rows);
    p.left += p.chunks * p.left_step;
    p.right += p.chunks * p.right_step;
    p.out += kLanes;
  }
}
LONGSHORT_INLINE Vector weigh_gates(const float* sums, const float* factors, int64_t gate,
                                    int64_t width) {
  Vector total = {};
  for (int64_t g = 0; g < kGates; ++g)
    total = mul_add(load_n(factors + g * gate, width), load(sums + g * kLanes), total);
  return total;
}

}  // namespace
