// After the loop over time: the gradients of the parameters, one product over all entries.
#pragma once
#include "entries.h"

namespace {

// Entries of [x h_{t-1} 1] summed at a time. The panel of dz that meets them, four vectors wide,
// then stays in a core's own cache while all rows of the weights pass over it.
constexpr int64_t kDepth = 512;

inline int64_t weight_rows(const longshort_lstm& a) { return a.features + a.outputs + 1; }

// With dropout, which has a left factor for each gate, three of each would be slower than floats.
inline Pieces weight_pieces(const longshort_lstm& a) {
  return Pieces::where_worth(a, many_entries(a) && !gated(a));
}

// One thread's scratch.
struct WeightScratch {
  float* sums;   // (P, rows, 4, kLanes)
  float* left;   // packed [x h 1]: (depth, rows), by tiles; of bfloat16s (4 or 1, chunks, rows, kChunk)
  float* right;  // of bfloat16s the panel of dz; with dropout else (depth, 4,
                 // kLanes), its places one after the other
  float* factors;  // with dropout (places, 4, rows)
  int64_t size;

  WeightScratch(const longshort_lstm& a, int threads, int thread, float* data) {
    const int64_t rows = longshort::ceil_div(weight_rows(a), threads) + kMaxRows;
    const Pieces pieces = weight_pieces(a);
    const int64_t most = smaller(kDepth, a.time * a.batch);
    const int64_t depth = pieces.count ? pieces.room(most) : most;
    const bool apart = gated(a) && !pieces.count;
    Taker taker{data, 0};
    for (int i = 0; i <= thread; ++i) {
      sums = taker.take(rows * blocks_of(a.units) * kTile);
      left = taker.take(pieces.count ? halved(rows * depth * (gated(a) ? kGates : 1)) : rows * depth);
      right = taker.take(pieces.count ? halved(depth * kTile) : apart ? depth * kTile : 0);
      factors = taker.take(apart ? smaller(kDepth, a.batch) * kGates * rows : 0);
    }
    size = taker.used;
  }
};

// Where x and h_{t-1} of one step of a place lie; h null where it is zero.
struct LeftRow {
  const float *x, *h;

  LeftRow() = default;
  LONGSHORT_INLINE LeftRow(const longshort_lstm& a, const Steps& steps, int64_t place, int64_t s) {
    const int64_t b = steps.row[place];
    x = a.x + (b * a.time + time_of(a, s)) * a.features;
    int64_t before = s - 1;
    // Where hs is no copy of it: the step that it is from. A masked step itself has no dz.
    if (a.zero_masked && !masked(a, b, s))
      while (before >= 0 && masked(a, b, before)) --before;
    h = before >= 0 ? a.hs + (b * a.time + time_of(a, before)) * a.hs_stride
        : a.h0      ? a.h0 + b * a.outputs
                    : nullptr;
  }
};
// The same of some entries, and the caller's row of each.
struct LeftEntries {
  LeftRow at[kDepth];
  int64_t row[kDepth], count;

  LeftEntries(const longshort_lstm& a, Entry from, int64_t depth) : count(depth) {
    for (int64_t k = 0; k < depth; ++k) {
      if (k > 0) from.advance();
      row[k] = from.steps.row[from.place];
      at[k] = LeftRow(a, from.steps, from.place, from.s);
    }
  }
};

// Rows m..m+count-1 of [x h_{t-1} 1].
LONGSHORT_INLINE void left_values(const longshort_lstm& a, const LeftRow& from, int64_t m, int count, float* out) {
  const int64_t D = a.features, P = a.outputs;
  const float *x = from.x, *h = from.h;
  if (m >= D && m + count <= D + P && h) {  // nearly all tiles
    if (count == kLanes) return store(out, load(h + m - D));
    for (int i = 0; i < count; ++i) out[i] = h[m - D + i];
    return;
  }
  if (m + count <= D) {
    if (count == kLanes) return store(out, load(x + m));
    for (int i = 0; i < count; ++i) out[i] = x[m + i];
    return;
  }
  for (int i = 0; i < count; ++i) {
    const int64_t row = m + i, unit = row - D;
    out[i] = row < D ? x[row] : unit >= P ? 1.0f : h ? h[unit] : 0.0f;
  }
}
// The dropout's factor on row m of it, for one gate.
inline float factor_of(const longshort_lstm& a, int64_t b, int64_t g, int64_t m) {
  const int64_t B = a.batch, D = a.features, P = a.outputs;
  if (m < D) return a.x_dropout ? a.x_dropout[(g * B + b) * D + m] : 1.0f;
  return a.h_dropout && m < D + P ? a.h_dropout[(g * B + b) * P + m - D] : 1.0f;
}

// Packs rows m of the left factor of some entries, as (depth, R).
template <int R>
void pack_left(const longshort_lstm& a, int64_t m, const LeftEntries& entries, float* out) {
  for (int64_t k = 0; k < entries.count; ++k, out += R) left_values(a, entries.at[k], m, R, out);
}
// Packs `rows` of the left factor of one gate as bfloat16s: chunks of as many rows as a vector has lanes, in
// pairs of entries, turned.
inline void pack_left(const longshort_lstm& a, Range rows, const LeftEntries& entries, int64_t g, Bfloat16* out,
                      Pieces pieces) {
  const int64_t step = rows.size() * kChunk;
  for (int64_t m = rows.begin; m < rows.end; m += kLanes) {
    const int count = static_cast<int>(smaller(kLanes, rows.end - m));
    const auto values_of = [&](int64_t k) {
      if (k >= entries.count) return Vector{};
      const LeftRow& from = entries.at[k];
      const int64_t next = m + kLanes;  // too many rows to be fetched ahead by the CPU itself
      prefetch<false>(next < a.features || !from.h ? from.x + next : from.h + next - a.features, 1);
      float values[kLanes] = {};
      left_values(a, from, m, count, values);
      for (int j = 0; gated(a) && j < count; ++j) values[j] *= factor_of(a, entries.row[k], g, m + j);
      return load(values);
    };
    for (int64_t k = 0; k < entries.count; k += 2 * kLanes) {
      Vector pairs[3][kLanes];
      for (int i = 0; i < kLanes; ++i) {
        const Vector even = values_of(k + 2 * i), odd = values_of(k + 2 * i + 1);
        for_pairs(even, odd, pieces, [&](int piece, Vector pair) { pairs[piece][i] = pair; });
      }
      Bfloat16* to = out + (m - rows.begin) * kChunk + pieces.in_row(k, step);
      for (int piece = 0; piece < pieces.count; ++piece, to += step) {
        turn(pairs[piece]);
#pragma GCC unroll 16  // or GCC copies them by a string instruction
        for (int i = 0; i < kLanes; ++i)
          if (i < count) store(reinterpret_cast<float*>(to + i * kChunk), pairs[piece][i]);
      }
    }
  }
}

// One panel of sums (rows, 4, kLanes) += left x dz of one block, `depth` entries.
inline void add_products(const WeightScratch& scratch, Range rows, int64_t, Pieces, const float* dz,
                         int64_t depth, bool first, float* sums) {
  for_rows(rows, [&](int64_t m, auto height) {
    constexpr int R = decltype(height)::count;
    const float* left = scratch.left + (m - rows.begin) * depth;
    float* out = sums + (m - rows.begin) * kTile;
    Tile<R, 4> tile;
    clear(tile);
    for (int r = 0; !first && r < R; ++r)
      for (int g = 0; g < 4; ++g) tile.sum[r][g] = load(out + r * kTile + g * kBlock);
    multiply(tile, left_at<R>(left, 1, R), dz, depth);
    for (int r = 0; r < R; ++r)
      for (int g = 0; g < 4; ++g) store(out + r * kTile + g * kBlock, tile.sum[r][g]);
  });
}
inline void add_products16(const WeightScratch& scratch, Range rows, int64_t gates, Pieces pieces,
                           const float* dz, int64_t depth, bool first, float* sums) {
  constexpr int64_t kStep = kGates * kRightTile;
  auto* right = reinterpret_cast<Bfloat16*>(scratch.right);
  for (int64_t k = 0; k < whole_chunks(depth); k += 2) {
    for (int64_t g = 0; g < kGates; ++g) {
      const auto value = [&](int64_t i) {
        return i < depth ? load(dz + i * kTile + g * kBlock) : Vector{};
      };
      store_pairs(right + pieces.in_column(k, kStep) + g * kRightTile, value(k), value(k + 1), pieces, kStep);
    }
  }
  const auto* left = reinterpret_cast<const Bfloat16*>(scratch.left);
  for (int64_t m = 0; m < rows.size(); m += kGroup) {
    const Product product = whole_product(pieces, pieces.chunks(depth), left + m * kChunk, rows.size(), right,
                                          kGates, sums + m * kTile, kTile, !first);
    const int64_t count = smaller(kGroup, rows.size() - m);
    if (gates > 1) {
      multiply_gated(product, count, rows.size() * pieces.room(depth));
    } else {
      multiply<4>(product, count);
    }
  }
}

// Writes sums to where they belong in Keras' layout, row by row, which is how that lies in memory.
inline void unpack_sums(const longshort_lstm& a, const WeightScratch& scratch, Range rows) {
  const int64_t D = a.features, H = a.units;
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    float* row = m < D               ? a.dkernel + m * kGates * H
                 : m < D + a.outputs ? a.drecurrent + (m - D) * kGates * H
                                     : a.dbias;
    const float* sums = scratch.sums + (m - rows.begin) * kTile;
    for (int64_t unit = 0; row && unit < H; unit += kBlock, sums += rows.size() * kTile)
      for (int64_t g = 0; g < kGates; ++g) store_n(row + g * H + unit, load(sums + g * kBlock), H - unit);
  }
}

// With dropout, whose factors are a place's own and the same at all steps: a product for each place over
// its steps, of which the factors then weigh the sums. Multiplied into the left factor they would make
// four of it: at 32 x 50 x 10, 128 units that took 1.8 times the plain gradient's time.
inline void add_rows_apart(const longshort_lstm& a, const Steps& steps, const WeightScratch& scratch,
                           Range rows, const float* all_dz) {
  const int64_t T = a.time, B = a.batch, total = steps.total(a);
  const int64_t num_steps = smaller(T, kDepth), num_places = smaller(kDepth / num_steps, B);
  for (int64_t s = 0; s < T; s += num_steps) {
    for (int64_t place = 0; place < B; place += num_places) {
      const Range places{place, smaller(place + num_places, B)};
      // The steps of a place, and where they begin in the panel.
      Range own[kDepth];
      int64_t first[kDepth + 1] = {};
      for (int64_t i = 0; i < places.size(); ++i) {
        const int64_t begin = steps.begin[place + i], end = steps.end[place + i];
        own[i] = Range{begin > s ? begin : s, smaller(end, s + num_steps)};
        if (own[i].end < own[i].begin) own[i].end = own[i].begin;
        first[i + 1] = first[i] + own[i].size();
      }
      const int64_t depth = first[places.size()];
      for_rows(rows, [&](int64_t m, auto height) {
        constexpr int R = decltype(height)::count;
        float* left = scratch.left + (m - rows.begin) * depth;
        float* factors = scratch.factors + (m - rows.begin) * num_places * kGates;
        for (int64_t i = 0; i < places.size(); ++i) {
          const int64_t b = steps.row[place + i];
          for (int64_t at = own[i].begin; at < own[i].end; ++at, left += R)
            left_values(a, LeftRow(a, steps, place + i, at), m, R, left);
          for (int64_t g = 0; g < kGates; ++g)
            for (int r = 0; r < R; ++r) *factors++ = factor_of(a, b, g, m + r);
        }
      });
      for (int64_t block = 0; block < blocks_of(a.units); ++block) {
        for (int64_t at = s; at < smaller(s + num_steps, T); ++at) {
          const float* dz = all_dz + (block * total + steps.first[at] + place) * kTile;
          for (int64_t i = 0; i < places.size(); ++i, dz += kTile)
            if (own[i].begin <= at && at < own[i].end)
              memcpy(scratch.right + (first[i] + at - own[i].begin) * kTile, dz, kTile * sizeof(float));
        }
        for_rows(rows, [&](int64_t m, auto height) {
          constexpr int R = decltype(height)::count;
          const float* left = scratch.left + (m - rows.begin) * depth;
          const float* factors = scratch.factors + (m - rows.begin) * num_places * kGates;
          float* sums = scratch.sums + (block * rows.size() + m - rows.begin) * kTile;
          for (int64_t i = 0; i < places.size(); ++i, factors += kGates * R) {
            Tile<R, 4> tile;
            clear(tile);
            multiply(tile, left_at<R>(left + first[i] * R, 1, R), scratch.right + first[i] * kTile,
                     own[i].size());
            for (int r = 0; r < R; ++r) {
              for (int g = 0; g < 4; ++g) {
                float* sum = sums + r * kTile + g * kBlock;
                store(sum, mul_add(splat(factors[g * R + r]), tile.sum[r][g], load(sum)));
              }
            }
          }
        });
      }
    }
  }
}

// Some rows of [x h_{t-1} 1]^T dz, with a dz of theirs.
inline void add_rows(const longshort_lstm& a, const Steps& steps, const WeightScratch& scratch,
                     Range rows, const float* all_dz) {
  const int64_t P = blocks_of(a.units), total = steps.total(a);
  const int64_t gates = gated(a) ? kGates : 1;
  const Pieces pieces = weight_pieces(a);
  if (total == 0 || (gates > 1 && !pieces.count))
    memset(scratch.sums, 0, P * rows.size() * kTile * sizeof(float));
  if (gates > 1 && !pieces.count) {
    add_rows_apart(a, steps, scratch, rows, all_dz);
    return unpack_sums(a, scratch, rows);
  }

  int64_t s = 0;
  for (int64_t first = 0; first < total; first += kDepth) {
    const int64_t depth = smaller(kDepth, total - first);
    const Entry from(steps, s, first);
    s = from.s;
    const LeftEntries entries(a, from, depth);
    if (pieces.count) {
      auto* left = reinterpret_cast<Bfloat16*>(scratch.left);
      for (int64_t g = 0; g < gates; ++g)
        pack_left(a, rows, entries, g, left + g * rows.size() * pieces.room(depth), pieces);
    } else {
      for_rows(rows, [&](int64_t m, auto height) {
        constexpr int R = decltype(height)::count;
        pack_left<R>(a, m, entries, scratch.left + (m - rows.begin) * depth);
      });
    }
    for (int64_t block = 0; block < P; ++block) {
      const float* dz = all_dz + (block * total + first) * kTile;
      float* sums = scratch.sums + block * rows.size() * kTile;
      const auto add = pieces.count ? add_products16 : add_products;
      add(scratch, rows, gates, pieces, dz, depth, first == 0, sums);
    }
  }
  unpack_sums(a, scratch, rows);
}

// [dkernel; drecurrent; dbias] = [x h_{t-1} 1]^T dz; with layer norm dkernel is x^T dz_x and dbias not
// made here. Each thread has rows of its own, so no sum depends on the number of threads.
void weight_gradient(const longshort_lstm& a, const Steps& steps, float* data, const Team& team) {
  const int64_t D = a.features, P = a.outputs;
  const Range rows = longshort::part(weight_rows(a), team.index, team.size);
  const WeightScratch scratch(a, team.size, team.index, data);
  const auto add = [&](Range wanted, const float* dz) {
    const Range own{wanted.begin > rows.begin ? wanted.begin : rows.begin,
                    smaller(wanted.end, rows.end)};
    if (own.begin < own.end) add_rows(a, steps, scratch, own, dz);
  };
  if (a.dz_x) {
    add(Range{0, D}, a.dz_x);
    add(Range{D, D + P}, a.dz);
  } else {
    add(rows, a.dz);
  }
  end_products();
}

}  // namespace
