// After the loop over time: the gradients of the parameters, one product over all entries.
#pragma once
#include "entries.h"

namespace {

// Entries of [x h_{t-1} 1] summed at a time. The panel of dz that meets them, four vectors wide,
// then stays in a core's own cache while all rows of the weights pass over it.
constexpr int64_t kDepth = 512;

inline int64_t weight_rows(const longshort_lstm& a) { return a.features + a.outputs + 1; }

// One thread's scratch.
struct WeightScratch {
  float* sums;   // (P, rows, 4, kLanes)
  float* left;   // packed [x h 1]: (4 or 1, depth, rows), by tiles; in bfloat16 (4 or 1, rows, depth)
  float* right;  // in bfloat16 the panel of dz, (depth / 2, 4, kLanes, 2)
  int64_t size;

  WeightScratch(const longshort_lstm& a, int threads, int thread, float* data) {
    const int64_t rows = longshort::ceil_div(weight_rows(a), threads) + kMaxRows;
    const int64_t depth = pad_depth(smaller(kDepth, a.time * a.batch));
    const int64_t factors = rows * depth * (gated(a) ? kGates : 1);
    Taker taker{data, 0};
    for (int i = 0; i <= thread; ++i) {
      sums = taker.take(rows * blocks_of(a.units) * kTile);
      left = taker.take(rounds(a) ? halved(factors) : factors);
      right = taker.take(rounds(a) ? halved(depth * kTile) : 0);
    }
    size = taker.used;
  }
};

// Rows m..m+count-1 of [x h_{t-1} 1], with the dropout of one gate, at one entry.
LONGSHORT_INLINE void left_values(const longshort_lstm& a, const Entry& at, int64_t g, int64_t m,
                                  int count, float* out) {
  const int64_t B = a.batch, T = a.time, D = a.features, P = a.outputs;
  const int64_t b = at.steps.row[at.place], s = at.s;
  const float* x = a.x + (b * T + time_of(a, s)) * D;
  const float* h = s > 0  ? a.hs + (b * T + time_of(a, s - 1)) * a.hs_stride
                   : a.h0 ? a.h0 + b * P
                          : nullptr;
  const float* x_factor = a.x_dropout ? a.x_dropout + (g * B + b) * D : nullptr;
  const float* h_factor = a.h_dropout ? a.h_dropout + (g * B + b) * P : nullptr;
  if (m >= D && m + count <= D + P && h) {  // nearly all tiles
    const int64_t unit = m - D;
    for (int i = 0; i < count; ++i)
      out[i] = h_factor ? h[unit + i] * h_factor[unit + i] : h[unit + i];
    return;
  }
  for (int i = 0; i < count; ++i) {
    const int64_t row = m + i, unit = row - D;
    if (row < D) {
      out[i] = x_factor ? x[row] * x_factor[row] : x[row];
    } else if (unit < P) {
      out[i] = !h ? 0.0f : h_factor ? h[unit] * h_factor[unit] : h[unit];
    } else {
      out[i] = 1.0f;
    }
  }
}

// Packs rows m of the left factor, for `depth` entries from `from`, as (gates, depth, R).
template <int R>
void pack_left(const longshort_lstm& a, int64_t m, const Entry& from, int64_t depth, int64_t gates,
               float* out) {
  for (int64_t g = 0; g < gates; ++g) {
    Entry at = from;
    for (int64_t k = 0; k < depth; ++k, out += R) {
      if (k > 0) at.advance();
      left_values(a, at, g, m, R, out);
    }
  }
}
// Packs `rows` of the left factor of one gate in bfloat16, as (rows, padded depth).
inline void pack_left(const longshort_lstm& a, Range rows, const Entry& from, int64_t depth,
                      int64_t g, Bfloat16* out) {
  const int64_t padded = pad_depth(depth);
  for (int64_t m = rows.begin; m < rows.end; m += kLanes) {
    const int count = static_cast<int>(smaller(kLanes, rows.end - m));
    Entry at = from;
    for (int64_t k = 0; k < padded; k += 2) {
      float values[2][kLanes] = {};
      for (int64_t i = 0; i < 2 && k + i < depth; ++i) {
        if (k + i > 0) at.advance();
        left_values(a, at, g, m, count, values[i]);
      }
      Bfloat16 pairs[2 * kLanes];
      store_pairs(pairs, load(values[0]), load(values[1]));
      for (int i = 0; i < count; ++i)
        memcpy(out + (m - rows.begin + i) * padded + k, pairs + 2 * i, 2 * sizeof(Bfloat16));
    }
  }
}

// Writes rows m of the sums of one unit block to where they belong in Keras' layout.
inline void unpack_sums(const longshort_lstm& a, Range m, int64_t block, const float* sums) {
  const int64_t D = a.features, H = a.units, unit = block * kBlock;
  for (int64_t i = m.begin; i < m.end; ++i, sums += kTile) {
    float* row = i < D       ? a.dkernel + i * kGates * H
                 : i < D + a.outputs ? a.drecurrent + (i - D) * kGates * H
                             : a.dbias;
    for (int64_t g = 0; row && g < kGates; ++g)
      store_n(row + g * H + unit, load(sums + g * kBlock), H - unit);
  }
}

// One panel of sums (rows, 4, kLanes) += left x dz of one block, `depth` entries.
inline void add_products(const WeightScratch& scratch, Range rows, int64_t gates, const float* dz,
                         int64_t depth, bool first, float* sums) {
  for_rows(rows, [&](int64_t m, auto height) {
    constexpr int R = decltype(height)::count;
    const float* left = scratch.left + (m - rows.begin) * depth * gates;
    float* out = sums + (m - rows.begin) * kTile;
    Tile<R, 4> tile = {};
    for (int r = 0; !first && r < R; ++r)
      for (int g = 0; g < 4; ++g) tile.sum[r][g] = load(out + r * kTile + g * kBlock);
    if (gates > 1) {
      multiply<true>(tile, left_at<R>(left, 1, R, depth * R), dz, depth);
    } else {
      multiply<false>(tile, left_at<R>(left, 1, R, 0), dz, depth);
    }
    for (int r = 0; r < R; ++r)
      for (int g = 0; g < 4; ++g) store(out + r * kTile + g * kBlock, tile.sum[r][g]);
  });
}
inline void add_products16(const WeightScratch& scratch, Range rows, int64_t gates,
                           const float* dz, int64_t depth, bool first, float* sums) {
  const int64_t padded = pad_depth(depth);
  auto* right = reinterpret_cast<Bfloat16*>(scratch.right);
  for (int64_t k = 0; k < padded; k += 2) {
    for (int64_t g = 0; g < kGates; ++g) {
      const auto value = [&](int64_t i) {
        return i < depth ? load(dz + i * kTile + g * kBlock) : Vector{};
      };
      store_pairs(right + k * kTile + g * 2 * kLanes, value(k), value(k + 1));
    }
  }
  const auto* left = reinterpret_cast<const Bfloat16*>(scratch.left);
  for (int64_t m = 0; m < rows.size(); m += kGroup) {
    const Product product{left + m * padded, padded,           right, kTile * 2,
                          padded,            sums + m * kTile, kTile, !first};
    const int64_t count = smaller(kGroup, rows.size() - m);
    if (gates > 1) {
      multiply_gated(product, count, rows.size() * padded);
    } else {
      multiply<4>(product, count);
    }
  }
}

// [dkernel; drecurrent; dbias] = [x h_{t-1} 1]^T dz. Each thread has rows of its own, so no sum
// depends on the number of threads.
void weight_gradient(const longshort_lstm& a, const Steps& steps, float* data, const Team& team) {
  const int64_t H = a.units, P = blocks_of(H), total = steps.total(a);
  const int64_t gates = gated(a) ? kGates : 1;
  const Range rows = longshort::part(weight_rows(a), team.index, team.size);
  const WeightScratch scratch(a, team.size, team.index, data);
  if (total == 0) memset(scratch.sums, 0, P * rows.size() * kTile * sizeof(float));

  int64_t s = 0;
  for (int64_t first = 0; first < total; first += kDepth) {
    const int64_t depth = smaller(kDepth, total - first);
    const Entry from(steps, s, first);
    s = from.s;
    if (rounds(a)) {
      auto* left = reinterpret_cast<Bfloat16*>(scratch.left);
      for (int64_t g = 0; g < gates; ++g)
        pack_left(a, rows, from, depth, g, left + g * rows.size() * pad_depth(depth));
    } else {
      for_rows(rows, [&](int64_t m, auto height) {
        constexpr int R = decltype(height)::count;
        pack_left<R>(a, m, from, depth, gates, scratch.left + (m - rows.begin) * depth * gates);
      });
    }
    for (int64_t block = 0; block < P; ++block) {
      const float* dz = a.dz + (block * total + first) * kTile;
      float* sums = scratch.sums + block * rows.size() * kTile;
      const auto add = rounds(a) ? add_products16 : add_products;
      add(scratch, rows, gates, dz, depth, first == 0, sums);
    }
  }
  for (int64_t block = 0; block < P; ++block)
    unpack_sums(a, rows, block, scratch.sums + block * rows.size() * kTile);
  end_products();
}

}  // namespace
