// Backward through time: dh = dz U^T in a register tile, the cell's derivative behind it.
#pragma once
#include "cells_backward.h"
#include "layer_norm_backward.h"
#include "projection.h"
#include "shares.h"

namespace {

// Fetches what `cell_backward` will read and write, while the product before it runs.
LONGSHORT_INLINE void prefetch_cells(const longshort_lstm& a, const BackwardScratch& scratch,
                                     int64_t s, int64_t place, int64_t rows, int64_t block,
                                     int64_t blocks) {
  const int64_t total = scratch.steps.total(a);
  for (int64_t n = 0; n < blocks; ++n) {
    const int64_t entry = (block + n) * total + scratch.steps.first[s] + place;
    prefetch<false>(a.gates + entry * kTile, rows * kTile);
    prefetch<false>(a.cells + entry * kBlock, rows * kBlock);
    if (s > 0) prefetch<false>(a.cells + (entry - scratch.steps.active(s - 1)) * kBlock, rows * kBlock);
    prefetch<true>(a.dz + entry * kTile, rows * kTile);
    if (a.dz_x) prefetch<true>(a.dz_x + entry * kTile, rows * kTile);
    for (int64_t which = 0; a.norm_gain && which < 2; ++which)
      prefetch<false>(a.products + (which * blocks_of(a.units) * total + entry) * kTile, rows * kTile);
  }
  for (int64_t r = 0; a.dhs && r < rows; ++r)
    prefetch<false>(dhs_at(a, scratch.steps.row[place + r], s, block), blocks * kBlock);
}

// A row's last step: what arrives is the gradient of h_last and of what was copied from it.
inline void first_of_row(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                         int64_t place, int64_t block) {
  const Vector dh = load(scratch.dh_at(a, place, block));
  if (scratch.varied) {
    other_backward(a, scratch, s, place, block, dh);
  } else {
    cell_backward(a, scratch, s, place, block, dh);
  }
}

// What to do with the product of dz of step s + 1: the gradient of h at s, or, before a row's first
// step (`leaves`), of h0. What a masked step has passed on is part of it.
LONGSHORT_INLINE void pass_backward(const longshort_lstm& a, const BackwardScratch& scratch,
                                    int64_t s, int64_t place, int64_t block, Vector dh,
                                    bool leaves) {
  float* kept = scratch.dh_at(a, place, block);
  if (masked(a, scratch.steps.row[place], s + 1)) dh += load(kept);
  if (leaves) {
    store(kept, dh);
  } else {
    cell_backward(a, scratch, s, place, block, dh);
  }
}

// The same for the LSTM's variants, where zoneout too has passed something on, for some places and
// blocks, from products (places, stride).
__attribute__((noinline)) inline void pass_varied(const longshort_lstm& a,
                                                  const BackwardScratch& scratch, int64_t s,
                                                  Range places, Range blocks, const float* products,
                                                  int64_t stride, bool leaves) {
  const auto dh_of = [&](int64_t place, int64_t block) {
    const float* product = products + (place - places.begin) * stride;
    return load(scratch.dh_at(a, place, block)) + load(product + (block - blocks.begin) * kBlock);
  };
  if (leaves) {
    for (int64_t block = blocks.begin; block < blocks.end; ++block)
      for (int64_t place = places.begin; place < places.end; ++place)
        store(scratch.dh_at(a, place, block), dh_of(place, block));
    return;
  }
  const Noise noise(a, s);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    for (int64_t place = places.begin; a.cell && place < places.end; ++place)
      other_backward(a, scratch, s, place, block, dh_of(place, block));
    if (a.cell) continue;
    const VariedBackward at(a, scratch, noise, s, block);
    for (int64_t place = places.begin; place < places.end; ++place)
      at.state(place, dh_of(place, block));
  }
}

// From the gradient of what was projected to that of the cell, for some places and blocks.
__attribute__((noinline)) inline void pass_projected(const longshort_lstm& a,
                                                     const BackwardScratch& scratch, int64_t s,
                                                     Range places, Range blocks, const float* sums,
                                                     int64_t stride) {
  const Noise noise(a, s);
  for (int64_t block = blocks.begin; block < blocks.end; ++block, sums += kBlock) {
    const VariedBackward at(a, scratch, noise, s, block);
    for (int64_t r = 0; r < places.size(); ++r) at.cell(places.begin + r, load(sums + r * stride));
  }
}
inline void project_backward(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                             Range places, Range blocks) {
  project(scratch.projected, blocks_of(a.outputs) * kBlock, a.outputs, scratch.projection, places,
          blocks, [&](Range rows, Range columns, const float* sums, int64_t stride) {
            pass_projected(a, scratch, s, rows, columns, sums, stride);
          });
}

// The gradient of h of R places at step s, from dz of step s + 1.
template <bool Gated, int R, int N>
void backward_tile(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                   int64_t place, int64_t block, bool leaves) {
  const int64_t H = a.units, P = a.outputs, B = a.batch, unit = block * kBlock;
  if (!leaves && !a.projection) prefetch_cells(a, scratch, s, place, R, block, N);
  Factors<R> factors = {};
  for (int r = 0; Gated && r < R; ++r)
    factors.row[r] = a.h_dropout + scratch.steps.row[place + r] * P + unit;
  factors.gate = B * P;
  factors.width = P - unit;
  Tile<R, N> product;
  transposed_tile<Gated>(product, scratch.rows_at(a, s + 1, place), blocks_of(H) * kTile,
                         tile_weights(scratch.weights, H, block), factors);
  if (__builtin_expect(scratch.varied, 0)) {  // the plain cell keeps the registers
    alignas(64) float products[R * N * kBlock];
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) store(products + (r * N + n) * kBlock, product.sum[r][n]);
    pass_varied(a, scratch, s, Range{place, place + R}, Range{block, block + N}, products,
                N * kBlock, leaves);
    return;
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n)
      pass_backward(a, scratch, s, place + r, block + n, product.sum[r][n], leaves);
}

// The same of bfloat16s, for up to kGroup places and N blocks.
template <int N>
void backward_group(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                    Range places, int64_t block, bool leaves) {
  const int64_t P = a.outputs, B = a.batch;
  const Pieces pieces(a);
  if (!leaves && !a.projection) prefetch_cells(a, scratch, s, places.begin, places.size(), block, N);
  alignas(64) float sums[kGroup * kTile];
  const Product product =
      whole_product(pieces, kGates * pieces.chunks(a.units), scratch.rows16_at(a, s + 1, places.begin), B,
                    scratch.weights16(a, block), N, sums, kTile, false);
  if (!a.h_dropout) multiply<N>(product, places.size());
  for (int64_t n = 0; n < N; ++n) {
    const int64_t unit = (block + n) * kBlock;
    if (a.h_dropout) multiply_gates_apart(product, places.size(), n);
    for (int64_t r = 0; r < places.size(); ++r) {
      const float* sum = sums + r * kTile;
      Vector dh = load(sum + n * kBlock);
      if (a.h_dropout) {
        const float* factors = a.h_dropout + scratch.steps.row[places.begin + r] * P + unit;
        dh = weigh_gates(sum, factors, B * P, P - unit);
      }
      if (scratch.varied) {
        store(sums + r * kTile + n * kBlock, dh);
      } else {
        pass_backward(a, scratch, s, places.begin + r, block + n, dh, leaves);
      }
    }
    if (scratch.varied)
      pass_varied(a, scratch, s, places, Range{block + n, block + n + 1}, sums + n * kBlock, kTile,
                  leaves);
  }
}

// The sum of dhs over steps whose h is a copy.
inline Vector sum_skipped(const longshort_lstm& a, int64_t row, Range steps, int64_t unit) {
  Vector sum = {};
  for (int64_t s = steps.begin; a.dhs && !a.zero_masked && s < steps.end; ++s)
    sum += load_n(a.dhs + (row * a.time + time_of(a, s)) * a.hs_stride + unit, a.outputs - unit);
  return sum;
}

inline void start_backward(const longshort_lstm& a, const BackwardScratch& scratch, Range places,
                           const Shares& blocks) {
  const int64_t B = a.batch, H = a.units, P = a.outputs;
  const Pieces pieces(a);
  for (int64_t place = places.begin; place < places.end; ++place) {
    const int64_t row = scratch.steps.row[place];
    for (int64_t block = blocks.states.begin; block < blocks.states.end; ++block) {
      const int64_t unit = block * kBlock;
      Vector dh = sum_skipped(a, row, Range{scratch.steps.end[place], a.time}, unit);
      if (a.dh_last) dh += load_n(a.dh_last + row * P + unit, P - unit);
      store(scratch.dh_at(a, place, block), dh);
    }
    for (int64_t block = blocks.cells.begin; block < blocks.cells.end; ++block) {
      const int64_t unit = block * kBlock;
      for (int64_t state = 0; state < states_of(a); ++state) {
        const float* last = a.dc_last + (state * B + row) * H + unit;
        const Vector dc = a.dc_last ? load_n(last, H - unit) : Vector{};
        store(scratch.dc_at(a, place, block, state), dc);
      }
      if (a.cell == LONGSHORT_SLSTM)
        slstm_add_to_m(a, scratch, scratch.steps.end[place], place, block, -1.0f);
      for (int64_t n = 0; n < scratch.num_sums(a); ++n)
        store(scratch.sums_at(a, scratch.sum_of(a, place), block) + n * kBlock, Vector{});
    }
    const bool last = blocks.cells.end == blocks_of(H);
    for (int64_t g = 0; pieces.count && last && g < 2 * kGates; ++g)  // padding, both buffers
      clear_padding(scratch.rows16_at(a, g / kGates, place) + g % kGates * pieces.room(H) * B, H, pieces,
                    B * kChunk);
  }
}

inline void finish_backward(const longshort_lstm& a, const BackwardScratch& scratch, Range places,
                            const Shares& blocks) {
  const int64_t B = a.batch, H = a.units, P = a.outputs;
  for (int64_t place = places.begin; place < places.end; ++place) {
    const int64_t row = scratch.steps.row[place];
    const Range before{0, scratch.steps.begin[place]}, after{scratch.steps.end[place], a.time};
    for (int64_t block = blocks.states.begin; block < blocks.states.end; ++block) {
      const int64_t unit = block * kBlock, width = smaller(kBlock, P - unit);
      if (a.dh0) {
        const Vector skipped = sum_skipped(a, row, before, unit);
        store_n(a.dh0 + row * P + unit, load(scratch.dh_at(a, place, block)) + skipped, width);
      }
      if (a.dprojected) {
        fill_skipped(a, a.dprojected + unit, P, row, before, width, nullptr);
        fill_skipped(a, a.dprojected + unit, P, row, after, width, nullptr);
      }
    }
    for (int64_t block = blocks.cells.begin; a.dc0 && block < blocks.cells.end; ++block) {
      const int64_t unit = block * kBlock;
      if (a.cell == LONGSHORT_SLSTM)
        slstm_add_to_m(a, scratch, scratch.steps.begin[place], place, block, 1.0f);
      for (int64_t state = 0; state < states_of(a); ++state)
        store_n(a.dc0 + (state * B + row) * H + unit, load(scratch.dc_at(a, place, block, state)),
                H - unit);
    }
  }
}

// The places' or tiles' sums, added up in their order, to where each belongs.
inline void add_sums(const longshort_lstm& a, const BackwardScratch& scratch, int64_t block) {
  const int64_t H = a.units, unit = block * kBlock;
  for (int64_t n = 0; n < scratch.num_sums(a); ++n) {
    Vector sum = {};
    for (int64_t i = 0; i <= scratch.sum_of(a, a.batch - 1); ++i)
      sum += load(scratch.sums_at(a, i, block) + n * kBlock);
    float* out = n >= kNormGainSum   ? a.dnorm_gain + (n - kNormGainSum) * H
                 : n >= kNormBiasSum ? a.dbias ? a.dbias + (n - kNormBiasSum) * H : nullptr
                 : n >= kNormCellSum ? a.dnorm_cell + (n - kNormCellSum) * H
                 : a.dpeephole       ? a.dpeephole + n * H
                                     : nullptr;
    if (out) store_n(out + unit, sum, H - unit);
  }
}

// One thread's share of a backward call.
void backward(const longshort_lstm& a, const Plan& plan, const Steps& steps, float* data,
              const Team& team) {
  const int64_t B = a.batch, T = a.time, H = a.units, P = a.outputs;
  const BackwardScratch scratch(a, steps, data);
  const bool gated = a.h_dropout != nullptr;
  const Shares shares(a, plan, team.index);
  const Range blocks = shares.states;
  const auto for_own = [&](int64_t from, int64_t to, auto body) {
    for_own_places(a, plan, team.index, from, to, body);
  };
  int64_t turn = 0;
  const auto mine = [&] { return !plan.by_rows || turn++ % team.size == team.index; };
  if (in_bfloat16(a)) {
    for_blocks(blocks, [&](int64_t block, auto width) {
      if (mine())
        pack_transposed(a.recurrent, P, H, block, decltype(width)::count,
                        scratch.weights16(a, block), Pieces(a));
    });
  } else {
    pack_tiles(a.recurrent, P, H, blocks, scratch.weights, mine);
  }
  if (a.projection)
    pack_columns(a.projection, P, H, 1, P, shares.cells, scratch.projection, mine);
  for (int64_t block = team.index; a.norm_gain && block < blocks_of(H); block += team.size)
    pack_gates(a.norm_gain, 2, H, block, scratch.norm_gains + block * 2 * kTile);
  for_own(0, B, [&](Range places) { start_backward(a, scratch, places, shares); });
  team.wait();

  for (int64_t s = T - 1; s >= (a.dh0 ? -1 : 0); --s) {
    const int64_t now = steps.active(s), after = steps.active(s + 1);
    const auto products = [&](int64_t from, int64_t to, bool leaves) {
      for_blocks(blocks, [&](int64_t block, auto width) {
        if (in_bfloat16(a)) {
          for_places<kGroup>(plan, team.index, B, from, to, [&](Range places) {
            backward_group<decltype(width)::count>(a, scratch, s, places, block, leaves);
          });
          return;
        }
        for_places(plan, team.index, B, from, to, [&](Range places) {
          auto tile = [&](int64_t place, auto height) {
            constexpr int R = decltype(height)::count, N = decltype(width)::count;
            if (gated) {
              backward_tile<true, R, N>(a, scratch, s, place, block, leaves);
            } else {
              backward_tile<false, R, N>(a, scratch, s, place, block, leaves);
            }
          };
          call_rows(places.size(), places.begin, tile);
        });
      });
    };
    products(0, smaller(now, after), false);
    if (a.dh0) products(now, after, true);
    for_own(after, now, [&](Range places) {
      for (int64_t block = blocks.begin; block < blocks.end; ++block)
        for (int64_t place = places.begin; place < places.end; ++place)
          first_of_row(a, scratch, s, place, block);
    });
    if (!plan.by_rows) team.wait();
    const auto also = [&](auto... parts) {
      for_own(0, now, [&](Range places) { (parts(a, scratch, s, places, shares.cells), ...); });
      if (!plan.by_rows) team.wait();
    };
    if (a.projection) also(project_backward);
    if (a.norm_gain && plan.by_rows) also(norm_out_backward, norm_cell_backward, norm_gates_backward);
    if (a.norm_gain && !plan.by_rows) {
      also(norm_out_backward);
      also(norm_cell_backward);
      also(norm_gates_backward);
    }
  }
  for_own(0, B, [&](Range places) { finish_backward(a, scratch, places, shares); });
  if (scratch.num_sums(a)) {
    team.wait();
    for (int64_t block = team.index; block < blocks_of(H); block += team.size)
      add_sums(a, scratch, block);
  }
  end_products();
}

}  // namespace
