// x W for many steps at a time, where few rows meet many features, and always of bfloat16s.
#pragma once
#include "cell_forward.h"

namespace {

// Where x W of step s begins among those computed ahead from step `begin` on. Threads that take rows
// do not wait for each other, so that one can be a few steps ahead: a row then keeps to places of its
// own, at the price of gaps where a row has ended.
inline int64_t ahead_entry(const longshort_lstm& a, const Steps& steps, const Plan& plan,
                           int64_t begin, int64_t s) {
  return plan.by_rows ? (s - begin) * a.batch : steps.first[s] - steps.first[begin];
}

// x W + b for all entries of steps begin..end-1, one block of units; with layer norm x W.
template <int R>
void ahead_tile(const longshort_lstm& a, const ForwardScratch& scratch, const float* const (&x)[R],
                int64_t block, float* out) {
  Tile<R, 4> z;
  for (int g = 0; g < 4; ++g) {
    const Vector bias =
        a.norm_gain ? Vector{} : load(scratch.bias + block * kTile + g * kBlock);
    for (int r = 0; r < R; ++r) z.sum[r][g] = bias;
  }
  Left<R> left;
  for (int r = 0; r < R; ++r) left.row[r] = x[r];
  left.step = 1;
  multiply(z, left, scratch.weights + block * (a.features + a.outputs) * kTile, a.features);
  for (int r = 0; r < R; ++r)
    for (int g = 0; g < 4; ++g) store(out + r * kTile + g * kBlock, z.sum[r][g]);
}
inline void compute_ahead(const longshort_lstm& a, const ForwardScratch& scratch, Range steps,
                          Range blocks) {
  const int64_t D = a.features, T = a.time;
  const int64_t entries = scratch.steps.first[steps.end] - scratch.steps.first[steps.begin];
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    int64_t s = steps.begin, place = 0;
    for_rows(Range{0, entries}, [&](int64_t entry, auto height) {
      constexpr int R = decltype(height)::count;
      const float* x[R];
      for (int r = 0; r < R; ++r) {
        while (place == scratch.steps.active(s)) {
          place = 0;
          ++s;
        }
        x[r] = a.x + (scratch.steps.row[place++] * T + time_of(a, s)) * D;
      }
      float* out = scratch.ahead + (block * ForwardScratch::ahead_entries(a) + entry) * kTile;
      ahead_tile<R>(a, scratch, x, block, out);
    });
  }
}

// x W for the thread's entries of some steps, of bfloat16s.
inline void compute_ahead16(const longshort_lstm& a, const ForwardScratch& scratch,
                            const Plan& plan, int thread, Range steps, Range blocks) {
  const int64_t D = a.features, B = a.batch, T = a.time;
  const Pieces pieces(a);
  const int64_t entries = ForwardScratch::ahead_entries(a), step = entries * kChunk;
  Bfloat16* inputs = scratch.inputs16 + thread * ForwardScratch::inputs16_size(a);
  const auto for_groups = [&](auto body) {
    for (int64_t s = steps.begin; s < steps.end; ++s) {
      const int64_t first = ahead_entry(a, scratch.steps, plan, steps.begin, s);
      for_places<kGroup>(plan, thread, B, 0, scratch.steps.active(s),
                         [&](Range places) { body(s, first + places.begin, places); });
    }
  };
  for_groups([&](int64_t s, int64_t entry, Range places) {
    for (int64_t place = places.begin; place < places.end; ++place, ++entry) {
      const int64_t row = scratch.steps.row[place];
      const float* x = a.x + (row * T + time_of(a, s)) * D;
      if (!a.x_dropout) {
        store_row(x, D, inputs + entry * kChunk, pieces, step);
        continue;
      }
      for (int64_t g = 0; g < kGates; ++g) {
        const float* factor = a.x_dropout + (g * B + row) * D;
        Bfloat16* out = inputs + g * pieces.chunks(D) * step + entry * kChunk;
        for (int64_t d = 0; d < whole_chunks(D); d += kLanes) {
          const Vector v = d < D ? load_n(x + d, D - d) * load_n(factor + d, D - d) : Vector{};
          store_pieces(out + pieces.in_row(d, step), v, pieces, step);
        }
      }
    }
  });
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    for_groups([&](int64_t, int64_t entry, Range places) {
      const Product product =
          whole_product(pieces, pieces.chunks(D), inputs + entry * kChunk, entries, scratch.weights16(a, block),
                        kGates, scratch.ahead + (block * entries + entry) * kTile, kTile, false);
      if (a.x_dropout) {
        multiply_gated(product, places.size(), pieces.chunks(D) * step);
      } else {
        multiply<4>(product, places.size());
      }
    });
  }
}

}  // namespace
