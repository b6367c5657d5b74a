// After the loop over time: the gradients of the parameters, and of the input.
#pragma once
#include "transposed.h"

namespace {

// Rows of [x h_{t-1} 1] summed at a time. The panel of dz that meets them, 64 columns wide, is
// then 128 KB and stays in a core's own cache while all rows of the weights pass over it.
constexpr int64_t kDepth = 512;

inline int64_t weight_rows(const longshort_lstm& a) { return a.features + a.units + 1; }

// One thread's scratch: sums (P, rows, 64) and the packed left factor (kDepth, rows) a gate.
inline int64_t weight_gradient_scratch(const longshort_lstm& a, int threads) {
  const int64_t rows = longshort::ceil_div(weight_rows(a), threads) + kMaxRows;
  const int64_t depth = smaller(kDepth, a.time * a.batch);
  return threads * longshort::cache_lines(rows * (blocks_of(a.units) * kTile +
                                                  depth * (gated(a) ? kGates : 1)));
}

// Packs rows m of the left factor, for `depth` pairs (s, b) from `first`, as (gates, depth, R).
template <int R>
void pack_left(const longshort_lstm& a, int64_t m, int64_t first, int64_t depth, int64_t gates,
               float* out) {
  const int64_t B = a.batch, T = a.time, D = a.features, H = a.units;
  for (int64_t g = 0; g < gates; ++g) {
    int64_t s = first / B, b = first % B;
    for (int64_t k = 0; k < depth; ++k, out += R) {
      const float* x = a.x + (b * T + time_of(a, s)) * D;
      const float* h = s > 0 ? a.hs + (b * T + s - 1) * H : a.h0 ? a.h0 + b * H : nullptr;
      const float* x_factor = a.x_dropout ? a.x_dropout + (g * B + b) * D : nullptr;
      const float* h_factor = a.h_dropout ? a.h_dropout + (g * B + b) * H : nullptr;
      if (m >= D && m + R <= D + H && h && !h_factor) {  // nearly all tiles
        for (int i = 0; i < R; ++i) out[i] = h[m - D + i];
      } else {
        for (int i = 0; i < R; ++i) {
          const int64_t row = m + i, unit = row - D;
          if (row < D) {
            out[i] = x_factor ? x[row] * x_factor[row] : x[row];
          } else if (unit < H) {
            out[i] = !h ? 0.0f : h_factor ? h[unit] * h_factor[unit] : h[unit];
          } else {
            out[i] = 1.0f;
          }
        }
      }
      if (++b == B) {
        b = 0;
        ++s;
      }
    }
  }
}

// Writes rows m of the sums of one unit block to where they belong in Keras' layout.
inline void unpack_sums(const longshort_lstm& a, Range m, int64_t block, const float* sums) {
  const int64_t D = a.features, H = a.units, unit = block * kBlock;
  const int64_t width = smaller(kBlock, H - unit);
  for (int64_t i = m.begin; i < m.end; ++i, sums += kTile) {
    float* row = i < D       ? a.dkernel + i * kGates * H
                 : i < D + H ? a.drecurrent + (i - D) * kGates * H
                             : a.dbias;
    if (!row) continue;
    for (int64_t g = 0; g < kGates; ++g)
      for (int64_t j = 0; j < width; ++j) row[g * H + unit + j] = sums[g * kBlock + j];
  }
}

// [dkernel; drecurrent; dbias] = [x h_{t-1} 1]^T dz. Each thread has rows of its own, so no sum
// depends on the number of threads.
void weight_gradient(const longshort_lstm& a, float* data, const Team& team) {
  const int64_t H = a.units, P = blocks_of(H), total = a.time * a.batch;
  const int64_t gates = gated(a) ? kGates : 1;
  const Range rows = longshort::part(weight_rows(a), team.index, team.size);
  float* sums = data + team.index * (weight_gradient_scratch(a, team.size) / team.size);
  float* packed = sums + P * rows.size() * kTile;

  for (int64_t first = 0; first < total; first += kDepth) {
    const int64_t depth = smaller(kDepth, total - first);
    for_rows(rows, [&](int64_t m, auto height) {
      constexpr int R = decltype(height)::count;
      pack_left<R>(a, m, first, depth, gates, packed + (m - rows.begin) * depth * gates);
    });
    for (int64_t block = 0; block < P; ++block) {
      const float* dz = a.dz + (block * total + first) * kTile;
      for_rows(rows, [&](int64_t m, auto height) {
        constexpr int R = decltype(height)::count;
        const float* left = packed + (m - rows.begin) * depth * gates;
        float* out = sums + (block * rows.size() + m - rows.begin) * kTile;
        for (int part = 0; part < kParts; ++part) {
          Tile<R, 4> tile = {};
          if (first > 0) {
            for (int r = 0; r < R; ++r)
              for (int g = 0; g < 4; ++g)
                tile.sum[r][g] = load(out + r * kTile + g * kBlock + part * kLanes);
          }
          const Left factor{left, 1, R, depth * R};
          if (gates > 1) {
            multiply<true>(tile, factor, dz + part * kLanes, depth);
          } else {
            multiply<false>(tile, factor, dz + part * kLanes, depth);
          }
          for (int r = 0; r < R; ++r)
            for (int g = 0; g < 4; ++g)
              store(out + r * kTile + g * kBlock + part * kLanes, tile.sum[r][g]);
        }
      });
    }
  }
  for (int64_t block = 0; block < P; ++block)
    unpack_sums(a, rows, block, sums + block * rows.size() * kTile);
}

inline int64_t input_gradient_scratch(const longshort_lstm& a) {
  return transposed_size(a.features, a.units, a.x_dropout);
}

// dx = dz W^T over all steps and rows at once.
void input_gradient(const longshort_lstm& a, float* weights, const Team& team) {
  const int64_t B = a.batch, T = a.time, D = a.features, P = blocks_of(a.units);
  const bool gated = a.x_dropout != nullptr;
  const Range columns{0, blocks_of(D)};
  int64_t turn = 0;
  for_blocks(columns, [&](int64_t block, auto width) {
    constexpr int64_t count = decltype(width)::count;
    if (turn++ % team.size != team.index) return;
    for (int64_t n = 0; gated && n < count; ++n)
      pack_transposed(a.kernel, D, a.units, block + n, 1, true,
                      weights + (block + n) * kBlock * P * kTile * kGates);
    if (!gated)
      pack_transposed(a.kernel, D, a.units, block, count, false,
                      weights + block * kBlock * P * kTile);
  });
  team.wait();

  const auto tile = [&](int64_t s, int64_t row, int64_t block, auto height, auto width,
                        auto is_gated) {
    constexpr int R = decltype(height)::count, N = decltype(width)::count;
    constexpr bool Gated = decltype(is_gated)::count;
    const float* packed = weights + block * kBlock * P * kTile * (Gated ? kGates : 1);
    for (int part = 0; part < kParts; ++part) {
      const int64_t lane = part * kLanes, column = block * kBlock + lane;
      Tile<R, N> out;
      const float* factors = Gated ? a.x_dropout + row * D + column : nullptr;
      transposed_tile<Gated>(out, a.dz + (s * B + row) * kTile, T * B * kTile, P, packed + lane,
                             factors, B * D, D, D - column);
      for (int r = 0; r < R; ++r) {
        float* dx = a.dx + ((row + r) * T + time_of(a, s)) * D;
        for (int n = 0; n < N; ++n)
          if (column + n * kBlock < D)
            store_n(dx + column + n * kBlock, out.sum[r][n], D - column - n * kBlock);
      }
    }
  };
  const Range steps = longshort::part(T, team.index, team.size);
  for_blocks(columns, [&](int64_t block, auto width) {
    for (int64_t s = steps.begin; s < steps.end; ++s) {
      for_rows(Range{0, B}, [&](int64_t row, auto height) {
        if (gated) {
          for (int n = 0; n < decltype(width)::count; ++n)
            tile(s, row, block + n, height, Blocks<1>{}, Rows<1>{});
        } else {
          tile(s, row, block, height, width, Rows<0>{});
        }
      });
    }
  });
}

}  // namespace
