// After the loop over time: the gradients of the parameters, and of the input.
#pragma once
#include "transposed.h"

namespace {

// Entries of [x h_{t-1} 1] summed at a time. The panel of dz that meets them, four vectors wide,
// then stays in a core's own cache while all rows of the weights pass over it.
constexpr int64_t kDepth = 512;

inline int64_t weight_rows(const longshort_lstm& a) { return a.features + a.units + 1; }

// One thread's scratch: sums (P, rows, 4, kLanes) and the packed left factor (kDepth, rows) a gate.
inline int64_t weight_gradient_scratch(const longshort_lstm& a, int threads) {
  const int64_t rows = longshort::ceil_div(weight_rows(a), threads) + kMaxRows;
  const int64_t depth = smaller(kDepth, a.time * a.batch);
  return threads * longshort::cache_lines(rows * (blocks_of(a.units) * kTile +
                                                  depth * (gated(a) ? kGates : 1)));
}

// An entry and the step and place that it belongs to, counting up.
struct Entry {
  const Steps& steps;
  int64_t s, place;
  Entry(const Steps& all, int64_t step, int64_t entry) : steps(all), s(step), place(0) {
    while (steps.first[s + 1] <= entry) ++s;
    place = entry - steps.first[s];
  }
  void advance() {
    ++place;
    while (place == steps.active(s)) {
      place = 0;
      ++s;
    }
  }
};

// Packs rows m of the left factor, for `depth` entries from `from`, as (gates, depth, R).
template <int R>
void pack_left(const longshort_lstm& a, int64_t m, const Entry& from, int64_t depth, int64_t gates,
               float* out) {
  const int64_t B = a.batch, T = a.time, D = a.features, H = a.units;
  for (int64_t g = 0; g < gates; ++g) {
    Entry at = from;
    for (int64_t k = 0; k < depth; ++k, out += R) {
      if (k > 0) at.advance();
      const int64_t b = at.steps.row[at.place], s = at.s;
      const float* x = a.x + (b * T + time_of(a, s)) * D;
      const float* h = s > 0  ? a.hs + (b * T + time_of(a, s - 1)) * a.hs_stride
                       : a.h0 ? a.h0 + b * H
                              : nullptr;
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
    }
  }
}

// Writes rows m of the sums of one unit block to where they belong in Keras' layout.
inline void unpack_sums(const longshort_lstm& a, Range m, int64_t block, const float* sums) {
  const int64_t D = a.features, H = a.units, unit = block * kBlock;
  for (int64_t i = m.begin; i < m.end; ++i, sums += kTile) {
    float* row = i < D       ? a.dkernel + i * kGates * H
                 : i < D + H ? a.drecurrent + (i - D) * kGates * H
                             : a.dbias;
    for (int64_t g = 0; row && g < kGates; ++g)
      store_n(row + g * H + unit, load(sums + g * kBlock), H - unit);
  }
}

// [dkernel; drecurrent; dbias] = [x h_{t-1} 1]^T dz. Each thread has rows of its own, so no sum
// depends on the number of threads.
void weight_gradient(const longshort_lstm& a, const Steps& steps, float* data, const Team& team) {
  const int64_t H = a.units, P = blocks_of(H), total = steps.total(a);
  const int64_t gates = gated(a) ? kGates : 1;
  const Range rows = longshort::part(weight_rows(a), team.index, team.size);
  float* sums = data + team.index * (weight_gradient_scratch(a, team.size) / team.size);
  float* packed = sums + P * rows.size() * kTile;
  if (total == 0) memset(sums, 0, P * rows.size() * kTile * sizeof(float));

  int64_t s = 0;
  for (int64_t first = 0; first < total; first += kDepth) {
    const int64_t depth = smaller(kDepth, total - first);
    const Entry from(steps, s, first);
    s = from.s;
    for_rows(rows, [&](int64_t m, auto height) {
      constexpr int R = decltype(height)::count;
      pack_left<R>(a, m, from, depth, gates, packed + (m - rows.begin) * depth * gates);
    });
    for (int64_t block = 0; block < P; ++block) {
      const float* dz = a.dz + (block * total + first) * kTile;
      for_rows(rows, [&](int64_t m, auto height) {
        constexpr int R = decltype(height)::count;
        const float* left = packed + (m - rows.begin) * depth * gates;
        float* out = sums + (block * rows.size() + m - rows.begin) * kTile;
        Tile<R, 4> tile = {};
        for (int r = 0; first > 0 && r < R; ++r)
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
  }
  for (int64_t block = 0; block < P; ++block)
    unpack_sums(a, rows, block, sums + block * rows.size() * kTile);
}

// Entries whose dz is laid out densely at a time.
constexpr int64_t kInputRows = 48;

inline int64_t input_gradient_scratch(const longshort_lstm& a, int threads) {
  return longshort::cache_lines(transposed_size(a.features, a.units, a.x_dropout)) +
         threads * kInputRows * blocks_of(a.units) * kTile;
}

// What a tile of the input gradient writes: where the entries' rows of dx are.
struct InputRows {
  int64_t row[kInputRows], time[kInputRows];
};

template <bool Gated, int R, int N>
void input_tile(const longshort_lstm& a, const InputRows& rows, const float* dz, int64_t first,
                const float* weights, int64_t block) {
  const int64_t D = a.features, column = block * kBlock, width = blocks_of(a.units) * kTile;
  Factors<R> factors = {};
  for (int r = 0; Gated && r < R; ++r)
    factors.row[r] = a.x_dropout + rows.row[first + r] * D + column;
  factors.gate = a.batch * D;
  factors.width = D - column;
  Tile<R, N> out;
  transposed_tile<Gated>(out, dz + first * width, width,
                         weights + transposed_at(a.units, block, Gated), factors);
  for (int r = 0; r < R; ++r) {
    float* dx = a.dx + (rows.row[first + r] * a.time + rows.time[first + r]) * D;
    for (int n = 0; n < N; ++n) {
      const int64_t at = column + n * kBlock;
      store_n(dx + at, out.sum[r][n], D - at);
    }
  }
}

// dx = dz W^T over all entries at once; zeros where nothing was computed.
void input_gradient(const longshort_lstm& a, const Steps& steps, float* weights,
                    const Team& team) {
  const int64_t B = a.batch, T = a.time, D = a.features, P = blocks_of(a.units);
  const bool gated = a.x_dropout != nullptr;
  const Range columns{0, blocks_of(D)};
  int64_t turn = 0;
  pack_tiles(a.kernel, D, a.units, columns, gated, weights,
             [&] { return turn++ % team.size == team.index; });
  for (int64_t place = team.index; place < B; place += team.size) {
    for (int64_t s = 0; s < T; ++s) {
      if (s == steps.begin[place]) s = steps.end[place];
      if (s < T)
        memset(a.dx + (steps.row[place] * T + time_of(a, s)) * D, 0, D * sizeof(float));
    }
  }
  team.wait();

  float* dz = weights + longshort::cache_lines(transposed_size(D, a.units, gated)) +
              team.index * kInputRows * P * kTile;
  const int64_t total = steps.total(a);
  const Range entries = longshort::part(total, team.index, team.size);
  int64_t s = 0;
  for (int64_t first = entries.begin; first < entries.end; first += kInputRows) {
    const Range chunk{0, smaller(kInputRows, entries.end - first)};
    InputRows rows;
    Entry at(steps, s, first);
    s = at.s;
    for (int64_t i = 0; i < chunk.end; ++i) {
      if (i > 0) at.advance();
      rows.row[i] = steps.row[at.place];
      rows.time[i] = time_of(a, at.s);
    }
    for (int64_t p = 0; p < P; ++p)
      for (int64_t i = 0; i < chunk.end; ++i)
        memcpy(dz + (i * P + p) * kTile, a.dz + (p * total + first + i) * kTile,
               kTile * sizeof(float));
    for_blocks(columns, [&](int64_t block, auto width) {
      constexpr int N = decltype(width)::count;
      for_rows(chunk, [&](int64_t i, auto height) {
        constexpr int R = decltype(height)::count;
        for (int n = 0; gated && n < N; ++n)
          input_tile<true, R, 1>(a, rows, dz, i, weights, block + n);
        if (!gated) input_tile<false, R, N>(a, rows, dz, i, weights, block);
      });
    });
  }
}

}  // namespace
