// Products of bfloat16 factors with float32 sums, where the CPU has instructions for them: AMX tiles
// or AVX-512's dot product. Other sets compute in float32, which is faster there than rounding.
//
// Two neighbouring k form a pair: the left factor is row-major, the right one (depth / 2, N,
// kLanes, 2), so that 32 bits hold a pair on both sides. Depths are multiples of 32, padded with
// zeros: an AMX tile is 16 rows of 16 pairs.
#pragma once
#include "tile.h"

#if LONGSHORT_AMX
#include "amx.h"
#endif

namespace {

typedef uint16_t Bfloat16;

// Whether the factors of a call's products are rounded.
template <class Call>
LONGSHORT_INLINE bool rounds(const Call& a) {
#if LONGSHORT_AMX || LONGSHORT_AVX512_BF16
  return a.bfloat16;
#else
  (void)a;
  return false;
#endif
}

inline int64_t pad_depth(int64_t depth) { return longshort::ceil_div(depth, 32) * 32; }
// Floats of scratch that hold n bfloat16.
inline int64_t halved(int64_t n) { return longshort::ceil_div(n, 2); }

// The 32 bits of each lane, of which the upper half is x rounded to nearest, ties to even.
LONGSHORT_INLINE Integers round_bits(Vector x) {
  const Integers bits = reinterpret_cast<Integers>(x);
  const Integers rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return x == x ? rounded : (bits | 0x400000);  // a NaN must not be rounded to infinity
}
LONGSHORT_INLINE void store_bfloat16(Bfloat16* p, Vector x) {
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
  const Halves halves = __builtin_convertvector(round_bits(x) >> 16, Halves);
  memcpy(p, &halves, sizeof halves);
}
// n floats, rounded; the rest of `padded` places is zero.
inline void round_row(const float* in, int64_t n, int64_t padded, Bfloat16* out) {
  for (int64_t i = 0; i < padded; i += kLanes)
    store_bfloat16(out + i, i < n ? load_n(in + i, n - i) : Vector{});
}
// kLanes pairs: `even` and `odd` are the values at k and k + 1.
LONGSHORT_INLINE void store_pairs(Bfloat16* p, Vector even, Vector odd) {
  const Integers low = (round_bits(even) >> 16) & 0xffff;
  const Integers high = round_bits(odd) & static_cast<int32_t>(0xffff0000);
  store(reinterpret_cast<float*>(p), reinterpret_cast<Vector>(low | high));
}

// out[r][n] (+)= left(r, k) right(k, n) over k, for `rows` rows and N column blocks.
struct Product {
  const Bfloat16* left;
  int64_t left_stride;
  const Bfloat16* right;
  int64_t right_stride;  // bfloat16s from one pair to the next: N kLanes 2, or more
  int64_t depth;
  float* out;
  int64_t out_stride;
  bool add;
};

#if LONGSHORT_AMX

// Rows done at once: two tiles, so that each tile of the right factor is used twice.
constexpr int kGroup = 32;

template <int N>
inline void multiply(const Product& p, int64_t rows) {
  const int64_t top = smaller(rows, 16), bottom = rows - top;
  AMX_FENCE();
  amx_configure(static_cast<int>(top), static_cast<int>(bottom));
  const int64_t left_bytes = p.left_stride * 2, right_bytes = p.right_stride * 2;
  const int64_t out_bytes = p.out_stride * 4;
  const Bfloat16* below = p.left + 16 * p.left_stride;
  for (int n = 0; n < N; n += 2) {
    const bool two = n + 1 < N;
    float* out = p.out + n * kLanes;
    float* out_below = out + 16 * p.out_stride;
    if (p.add) {
      AMX_LOAD(0, out, out_bytes);
      if (two) AMX_LOAD(1, out + kLanes, out_bytes);
      if (bottom) AMX_LOAD(2, out_below, out_bytes);
      if (bottom && two) AMX_LOAD(3, out_below + kLanes, out_bytes);
    } else {
      AMX_ZERO(0);
      AMX_ZERO(1);
      AMX_ZERO(2);
      AMX_ZERO(3);
    }
    const Bfloat16* right = p.right + n * kLanes * 2;
    for (int64_t k = 0; k < p.depth; k += 32, right += 16 * p.right_stride) {
      AMX_LOAD(4, p.left + k, left_bytes);
      AMX_LOAD(6, right, right_bytes);
      AMX_DOT(0, 4, 6);
      if (two) {
        AMX_LOAD(7, right + kLanes * 2, right_bytes);
        AMX_DOT(1, 4, 7);
      }
      if (bottom) {
        AMX_LOAD(5, below + k, left_bytes);
        AMX_DOT(2, 5, 6);
        if (two) AMX_DOT(3, 5, 7);
      }
    }
    AMX_STORE(0, out, out_bytes);
    if (two) AMX_STORE(1, out + kLanes, out_bytes);
    if (bottom) AMX_STORE(2, out_below, out_bytes);
    if (bottom && two) AMX_STORE(3, out_below + kLanes, out_bytes);
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
LONGSHORT_INLINE void multiply_pairs(Tile<R, N>& tile, const Product& p) {
  const Bfloat16* right = p.right;
  for (int64_t k = 0; k < p.depth; k += 2, right += p.right_stride) {
#if LONGSHORT_AVX512_BF16 == 1
    for (int r = 0; r < R; ++r) {
      const auto a = reinterpret_cast<__m512bh>(splat_pair(p.left + r * p.left_stride + k));
      for (int n = 0; n < N; ++n) {
        const auto b = reinterpret_cast<__m512bh>(load_pairs(right + n * kLanes * 2));
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
    for (int r = 0; r < R; ++r) a[r] = splat_pair(p.left + r * p.left_stride + k);
    for (int n = 0; n < N; ++n) {
      const Vector b = low(load_pairs(right + n * kLanes * 2));
      for (int r = 0; r < R; ++r) tile.sum[r][n] = mul_add(low(a[r]), b, tile.sum[r][n]);
    }
    for (int n = 0; n < N; ++n) {
      const Vector b = high(load_pairs(right + n * kLanes * 2));
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
    multiply_pairs(tile, p);
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
    p.right += kLanes * 2;
    p.out += kLanes;
  }
}

inline int64_t own_height(const longshort_lstm& a) { return rounds(a) ? kGroup : kMaxRows; }
// for_places in the ranges that the products of a call go in: a place then belongs to the same
// thread in all that is done at a step.
template <class Body>
inline void for_own_places(const longshort_lstm& a, const Plan& plan, int thread, int64_t from,
                           int64_t to, Body body) {
  if (rounds(a)) {
    for_places<kGroup>(plan, thread, a.batch, from, to, body);
  } else {
    for_places(plan, thread, a.batch, from, to, body);
  }
}

// Keras' (depth, 4H) weights -> the right factor (padded depth / 2, 4, kLanes, 2) of one block.
inline void pack_gates(const float* weights, int64_t depth, int64_t units, int64_t block,
                       Bfloat16* out) {
  const int64_t first = block * kBlock, width = units - first;
  const auto row = [&](int64_t k, int64_t g) {
    return k < depth ? load_n(weights + (k * kGates + g) * units + first, width) : Vector{};
  };
  for (int64_t k = 0; k < pad_depth(depth); k += 2)
    for (int64_t g = 0; g < kGates; ++g, out += 2 * kLanes)
      store_pairs(out, row(k, g), row(k + 1, g));
}

// Keras' (columns, 4H) weights, transposed, for `count` blocks of columns from `first`: the right
// factor (4 padded units / 2, count, kLanes, 2).
inline void pack_transposed(const float* weights, int64_t columns, int64_t units, int64_t first,
                            int64_t count, Bfloat16* out) {
  const int64_t depth = pad_depth(units), stride = count * kLanes * 2;
  for (int64_t n = 0; n < count; ++n) {
    const int64_t column = (first + n) * kBlock, real_columns = smaller(kBlock, columns - column);
    for (int64_t g = 0; g < kGates; ++g) {
      for (int64_t unit = 0; unit < depth; unit += 32) {
        float square[32][kBlock] = {};  // by squares, as in transposed.h
        const int64_t real_units = smaller(32, units - unit);
        for (int64_t j = 0; j < real_columns; ++j)
          for (int64_t u = 0; u < real_units; ++u)
            square[u][j] = weights[((column + j) * kGates + g) * units + unit + u];
        Bfloat16* to = out + (g * depth + unit) / 2 * stride + n * kLanes * 2;
        for (int64_t u = 0; u < 32; u += 2, to += stride)
          store_pairs(to, load(square[u]), load(square[u + 1]));
      }
    }
  }
}
// Bfloat16s that the packed weights of blocks before `block` take.
inline int64_t transposed_at(int64_t units, int64_t block) {
  return block * kBlock * kGates * pad_depth(units);
}

// For per-gate dropout behind a transposed product: each gate's sum apart, side by side in `out`,
// for column block n of the packed ones. `depth` is one gate's part of the product's.
inline void multiply_gates_apart(Product p, int64_t rows, int64_t n, int64_t depth) {
  p.right += n * kLanes * 2;
  p.depth = depth;
  for (int64_t g = 0; g < kGates; ++g) {
    multiply<1>(p, rows);
    p.left += depth;
    p.right += depth / 2 * p.right_stride;
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
