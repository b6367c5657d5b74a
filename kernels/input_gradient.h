// After the loop over time: the gradient of the input, one product over all entries.
#pragma once
#include "entries.h"

namespace {

// Entries whose dz is laid out densely at a time.
constexpr int64_t kInputRows = 64;

// Fewer features do not pay for cutting dz. With dropout as in weight_gradient.h.
inline Pieces input_pieces(const longshort_lstm& a) {
  return Pieces::where_worth(a, many_entries(a) && a.features >= 256 && !a.x_dropout);
}

struct InputScratch {
  float* weights;  // packed W^T, as floats or as bfloat16s
  float* dz;       // a thread's (kInputRows, P, 4, kLanes); of bfloat16s (4, chunks of H, kInputRows, kChunk)
  int64_t size;

  InputScratch(const longshort_lstm& a, int thread, float* data) {
    const int64_t P = blocks_of(a.units);
    const Pieces pieces = input_pieces(a);
    const int64_t rows = kInputRows * kGates * (pieces.count ? halved(pieces.room(a.units)) : P * kBlock);
    Taker taker{data, 0};
    weights = taker.take(pieces.count ? halved(transposed_at(a.units, blocks_of(a.features), pieces))
                                      : transposed_size(a.features, a.units));
    for (int i = 0; i <= thread; ++i) dz = taker.take(rows);
    size = taker.used;
  }
  Bfloat16* weights16(const longshort_lstm& a, int64_t block) const {
    return reinterpret_cast<Bfloat16*>(weights) + transposed_at(a.units, block, input_pieces(a));
  }
};

// What a tile of the input gradient writes: where the entries' rows of dx are.
struct InputRows {
  int64_t row[kInputRows], time[kInputRows];
};

template <bool Gated, int R, int N>
void input_tile(const longshort_lstm& a, const InputRows& rows, const float* dz, int64_t first,
                float* weights, int64_t block) {
  const int64_t D = a.features, column = block * kBlock, width = blocks_of(a.units) * kTile;
  Factors<R> factors = {};
  for (int r = 0; Gated && r < R; ++r)
    factors.row[r] = a.x_dropout + rows.row[first + r] * D + column;
  factors.gate = a.batch * D;
  factors.width = D - column;
  Tile<R, N> out;
  transposed_tile<Gated>(out, dz + first * width, width,
                         tile_weights(weights, a.units, block), factors);
  for (int r = 0; r < R; ++r) {
    float* dx = a.dx + (rows.row[first + r] * a.time + rows.time[first + r]) * D;
    for (int n = 0; n < N; ++n) {
      const int64_t at = column + n * kBlock;
      store_n(dx + at, out.sum[r][n], D - at);
    }
  }
}

// The same of bfloat16s, for up to kGroup entries and N blocks.
template <int N>
void input_group(const longshort_lstm& a, const InputRows& rows, const InputScratch& scratch,
                 Range entries, int64_t block) {
  const int64_t D = a.features, B = a.batch;
  const Pieces pieces = input_pieces(a);
  alignas(64) float sums[kGroup * kTile];
  const Product product = whole_product(
      pieces, kGates * pieces.chunks(a.units), reinterpret_cast<Bfloat16*>(scratch.dz) + entries.begin * kChunk,
      kInputRows, scratch.weights16(a, block), N, sums, kTile, false);
  if (!a.x_dropout) multiply<N>(product, entries.size());
  for (int64_t n = 0; n < N; ++n) {
    const int64_t column = (block + n) * kBlock;
    if (a.x_dropout) multiply_gates_apart(product, entries.size(), n);
    for (int64_t r = 0; r < entries.size(); ++r) {
      const int64_t row = rows.row[entries.begin + r], time = rows.time[entries.begin + r];
      const float* sum = sums + r * kTile;
      Vector dx = load(sum + n * kBlock);
      if (a.x_dropout)
        dx = weigh_gates(sum, a.x_dropout + row * D + column, B * D, D - column);
      store_n(a.dx + (row * a.time + time) * D + column, dx, D - column);
    }
  }
}

// Lays out dz of some entries densely.
inline void gather_rows(const longshort_lstm& a, int64_t total, int64_t first, int64_t count,
                        float* out) {
  const Pieces pieces = input_pieces(a);
  const int64_t P = blocks_of(a.units), step = kInputRows * kChunk, gate = pieces.chunks(a.units) * step;
  auto* out16 = reinterpret_cast<Bfloat16*>(out);
  for (int64_t i = 0; pieces.count && i < count * kGates; ++i)
    clear_padding(out16 + i % kGates * gate + i / kGates * kChunk, a.units, pieces, step);
  for (int64_t p = 0; p < P; ++p) {
    for (int64_t i = 0; i < count; ++i) {
      const float* in = a.dz + (p * total + first + i) * kTile;
      if (!pieces.count) {
        memcpy(out + (i * P + p) * kTile, in, kTile * sizeof(float));
        continue;
      }
      for (int64_t g = 0; g < kGates; ++g)
        store_pieces(out16 + g * gate + i * kChunk + pieces.in_row(p * kBlock, step), load(in + g * kBlock), pieces,
                     step);
    }
  }
}

// dx = dz W^T over all entries at once; zeros where nothing was computed.
void input_gradient(const longshort_lstm& a, const Steps& steps, float* data, const Team& team) {
  const int64_t B = a.batch, T = a.time, D = a.features;
  const bool gated = a.x_dropout != nullptr;
  const Pieces pieces = input_pieces(a);
  const InputScratch scratch(a, team.index, data);
  const Range columns{0, blocks_of(D)};
  int64_t turn = 0;
  const auto mine = [&] { return turn++ % team.size == team.index; };
  if (pieces.count) {
    for_blocks(columns, [&](int64_t block, auto width) {
      if (mine())
        pack_transposed(a.kernel, D, a.units, block, decltype(width)::count,
                        scratch.weights16(a, block), pieces);
    });
  } else {
    pack_tiles(a.kernel, D, a.units, columns, scratch.weights, mine);
  }
  for (int64_t place = team.index; place < B; place += team.size) {
    for (int64_t s = 0; s < T; ++s) {
      if (s == steps.begin[place]) s = steps.end[place];
      if (s < T)
        memset(a.dx + (steps.row[place] * T + time_of(a, s)) * D, 0, D * sizeof(float));
    }
  }
  team.wait();

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
    gather_rows(a, total, first, chunk.end, scratch.dz);
    for_blocks(columns, [&](int64_t block, auto width) {
      constexpr int N = decltype(width)::count;
      for (int64_t i = 0; pieces.count && i < chunk.end; i += kGroup)
        input_group<N>(a, rows, scratch, Range{i, smaller(i + kGroup, chunk.end)}, block);
      if (pieces.count) return;
      for_rows(chunk, [&](int64_t i, auto height) {
        constexpr int R = decltype(height)::count;
        if (gated) {
          input_tile<true, R, N>(a, rows, scratch.dz, i, scratch.weights, block);
        } else {
          input_tile<false, R, N>(a, rows, scratch.dz, i, scratch.weights, block);
        }
      });
    });
  }
  end_products();
}

}  // namespace
