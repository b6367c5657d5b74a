// Forward: both products of a step, the gates and the cell in one register tile.
#pragma once
#include "ahead.h"
#include "cells_forward.h"
#include "layer_norm.h"
#include "projection.h"
#include "trace.h"

namespace {

template <int R>
void forward_tile(const ForwardStep& step, int64_t place, int64_t block) {
  const longshort_lstm& a = step.a;
  const int64_t D = a.features, P = a.outputs;
  const float* weights = step.scratch.weights + block * (D + P) * kTile;
  prefetch_saved(step, place, R, block);
  Tile<R, 4> z;
  if (step.ahead) {
    const float* ahead = step.ahead + block * step.ahead_block + place * kTile;
    for (int r = 0; r < R; ++r)
      for (int g = 0; g < 4; ++g) z.sum[r][g] = load(ahead + r * kTile + g * kBlock);
  } else {
    for (int g = 0; g < 4; ++g) {
      const Vector bias = load(step.scratch.bias + block * kTile + g * kBlock);
      for (int r = 0; r < R; ++r) z.sum[r][g] = bias;
    }
    add_product(step, 0, place, weights, 0, z);
  }
  add_product(step, 1, place, weights, 0, z);
  if (__builtin_expect(step.scratch.varied, 0)) {  // the plain cell keeps the registers
    alignas(64) float sums[R * kTile];
    for (int r = 0; r < R; ++r)
      for (int g = 0; g < 4; ++g) store(sums + r * kTile + g * kBlock, z.sum[r][g]);
    other_rows(step, Range{place, place + R}, block, sums);
    return;
  }
  const CellForward cell(step, place, block);
  const StateForward state(step, place, block);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) cell(r, z.sum[r], state);
}

// The same with dropout of x or h, which have factors of their own for each gate: N blocks, gate by gate.
template <int R, int N>
void gated_tile(const ForwardStep& step, int64_t place, int64_t block) {
  const int64_t depth = step.a.features + step.a.outputs;
  const float* weights = step.scratch.weights + block * depth * kTile;
  for (int64_t n = 0; n < N; ++n) prefetch_saved(step, place, R, block + n);
  alignas(64) float sums[N * R * kTile];
  for (int64_t g = 0; g < kGates; ++g, weights += depth * N * kBlock) {
    Tile<R, N> z;
    for (int n = 0; n < N; ++n) {
      const Vector bias = load(step.scratch.bias + (block + n) * kTile + g * kBlock);
      for (int r = 0; r < R; ++r) z.sum[r][n] = bias;
    }
    add_product(step, 0, place, weights, g, z);
    add_product(step, 1, place, weights, g, z);
    for (int n = 0; n < N; ++n)
      for (int r = 0; r < R; ++r) store(sums + (n * R + r) * kTile + g * kBlock, z.sum[r][n]);
  }
  for (int64_t n = 0; n < N; ++n) {
    const float* own = sums + n * R * kTile;
    if (step.scratch.varied) {
      other_rows(step, Range{place, place + R}, block + n, own);
      continue;
    }
    const CellForward cell(step, place, block + n);
    const StateForward state(step, place, block + n);
    for (int64_t r = 0; r < R; ++r) {
      const float* z = own + r * kTile;
      cell(r, {load(z), load(z + kBlock), load(z + 2 * kBlock), load(z + 3 * kBlock)}, state);
    }
  }
}

// The same of bfloat16s, for up to kGroup places: x W is there, h U is added to it in place.
inline void forward_group(const ForwardStep& step, Range places, int64_t block) {
  const longshort_lstm& a = step.a;
  const Pieces pieces(a);
  const int64_t B = a.batch;
  float* sums = step.ahead + block * step.ahead_block + places.begin * kTile;
  if (step.has_h) {
    const Product product = whole_product(
        pieces, pieces.chunks(a.outputs), step.scratch.states16_at(a, step.s) + places.begin * kChunk, B,
        step.scratch.weights16(a, block) + pieces.room(a.features) * kTile, kGates, sums, kTile, true);
    if (a.h_dropout) {
      multiply_gated(product, places.size(), B * pieces.room(a.outputs));
    } else {
      multiply<4>(product, places.size());
    }
  }
  const CellForward cell(step, places.begin, block);
  const StateForward state(step, places.begin, block);
  for (int64_t r = 0; r < places.size(); ++r) {
    Vector z[4];
    for (int g = 0; g < 4; ++g) {
      float* sum = sums + r * kTile + g * kBlock;
      z[g] = load(sum) + load(step.scratch.bias + block * kTile + g * kBlock);
      if (step.scratch.varied) store(sum, z[g]);
    }
    if (!step.scratch.varied) cell(r, z, state);
  }
  if (step.scratch.varied) other_rows(step, places, block, sums);
}

// Initial states of the given places and blocks, h in both of the buffers.
inline void start_forward(const longshort_lstm& a, const ForwardScratch& scratch, Range places,
                          const Shares& blocks) {
  const int64_t B = a.batch, H = a.units, P = a.outputs, total = blocks_of(P) * kBlock;
  for (int64_t place = places.begin; place < places.end; ++place) {
    const int64_t row = scratch.steps.row[place];
    for (int64_t block = blocks.cells.begin; block < blocks.cells.end; ++block) {
      const int64_t unit = block * kBlock;
      for (int64_t state = 0; state < states_of(a); ++state) {
        const Vector c = a.c0 ? load_n(a.c0 + (state * B + row) * H + unit, H - unit) : Vector{};
        store(scratch.cells_at(a, place, block, state), c);
      }
    }
    for (int64_t block = blocks.states.begin; block < blocks.states.end; ++block) {
      const int64_t unit = block * kBlock, width = smaller(kBlock, P - unit);
      const Vector h = a.h0 ? load_n(a.h0 + row * P + unit, width) : Vector{};
      for (int64_t buffer = 0; buffer < 2; ++buffer) {
        store(scratch.states + (buffer * B + place) * total + unit, h);
        if (in_bfloat16(a)) {
          Bfloat16* states = scratch.states16_at(a, buffer);
          cut_state(a, states, place, row, unit, h);
          for (int64_t g = 0; block == blocks_of(P) - 1 && g < scratch.state_gates(a); ++g)
            clear_padding(states + g * Pieces(a).room(P) * B + place * kChunk, P, Pieces(a), B * kChunk);
        }
        for (int64_t g = 0; scratch.dropped && g < kGates; ++g) {
          const Vector factor = load_n(a.h_dropout + (g * B + row) * P + unit, width);
          store(scratch.dropped + ((buffer * kGates + g) * B + place) * total + unit, h * factor);
        }
      }
    }
  }
}

inline void finish_forward(const longshort_lstm& a, const ForwardScratch& scratch, Range places,
                           const Shares& blocks) {
  const int64_t B = a.batch, H = a.units, P = a.outputs, total = blocks_of(P) * kBlock;
  // The columns of some blocks.
  const auto columns = [](Range range, int64_t all) {
    return Range{smaller(range.begin * kBlock, all), smaller(range.end * kBlock, all)};
  };
  const Range units = columns(blocks.cells, H), outputs = columns(blocks.states, P);
  for (int64_t place = places.begin; place < places.end; ++place) {
    const int64_t row = scratch.steps.row[place], end = scratch.steps.end[place];
    const Range before{0, scratch.steps.begin[place]}, after{end, a.time};
    const float* state = scratch.states + (end % 2 * B + place) * total + outputs.begin;
    const bool copies = !a.zero_masked;
    const float* first = copies && a.h0 ? a.h0 + row * P + outputs.begin : nullptr;
    memcpy(a.h_last + row * P + outputs.begin, state, outputs.size() * sizeof(float));
    for (int64_t block = blocks.cells.begin; block < blocks.cells.end; ++block)
      for (int64_t state = 0; state < states_of(a); ++state)
        store_n(a.c_last + (state * B + row) * H + block * kBlock,
                load(scratch.cells_at(a, place, block, state)), H - block * kBlock);
    if (a.hs) {
      float* hs = a.hs + outputs.begin;
      fill_skipped(a, hs, a.hs_stride, row, before, outputs.size(), first);
      fill_skipped(a, hs, a.hs_stride, row, after, outputs.size(), copies ? state : nullptr);
    }
    if (a.trace_i) trace_skipped(a, scratch, place, blocks.cells);
    if (a.outs) {
      fill_skipped(a, a.outs + units.begin, H, row, before, units.size(), nullptr);
      fill_skipped(a, a.outs + units.begin, H, row, after, units.size(), nullptr);
    }
  }
}

// The x of one step with its dropout, by places.
inline const float* drop_inputs(const longshort_lstm& a, const ForwardScratch& scratch,
                                const Plan& plan, const Team& team, int64_t s) {
  const int64_t B = a.batch, D = a.features;
  float* inputs = scratch.inputs + team.index * kGates * B * D;
  for_places(plan, team.index, B, 0, scratch.steps.active(s), [&](Range places) {
    for (int64_t place = places.begin; place < places.end; ++place) {
      const int64_t row = scratch.steps.row[place];
      const float* x = a.x + (row * a.time + time_of(a, s)) * D;
      for (int64_t g = 0; g < kGates; ++g)
        for (int64_t d = 0; d < D; ++d)
          inputs[(g * B + place) * D + d] = x[d] * a.x_dropout[(g * B + row) * D + d];
    }
  });
  return inputs;
}

// One thread's share of a forward call. The first step with no h0 has no recurrent product.
void forward(const longshort_lstm& a, const Plan& plan, const Steps& steps, float* data,
             const Team& team) {
  const int64_t T = a.time, D = a.features, H = a.units, P = a.outputs;
  const ForwardScratch scratch(a, plan, steps, data);
  for (int64_t block = team.index; block < blocks_of(H); block += team.size) {
    if (in_bfloat16(a)) {
      auto* panel = const_cast<Bfloat16*>(scratch.weights16(a, block));
      pack_gates(a.kernel, D, H, block, panel, Pieces(a));
      pack_gates(a.recurrent, P, H, block, panel + Pieces(a).room(D) * kTile, Pieces(a));
    } else if (!gated(a)) {
      float* panel = scratch.weights + block * (D + P) * kTile;
      pack_gates(a.kernel, D, H, block, panel);
      pack_gates(a.recurrent, P, H, block, panel + D * kTile);
    }
    if (a.bias) {
      pack_gates(a.bias, 1, H, block, scratch.bias + block * kTile);
    } else {
      memset(scratch.bias + block * kTile, 0, kTile * sizeof(float));
    }
    if (a.norm_gain) pack_gates(a.norm_gain, 2, H, block, scratch.norm_gains + block * 2 * kTile);
  }
  const Shares shares(a, plan, team.index);
  const Range blocks = shares.cells;
  const auto for_own = [&](int64_t count, auto body) {
    for_own_places(a, plan, team.index, 0, count, body);
  };
  int64_t turn = 0;
  const auto mine = [&] { return !plan.by_rows || turn++ % team.size == team.index; };
  if (gated(a) && !in_bfloat16(a)) {
    for_blocks(blocks, [&](int64_t block, auto width) {
      constexpr int N = decltype(width)::count;
      float* panel = scratch.weights + block * (D + P) * kTile;
      if (!mine()) return;
      pack_gates_apart(a.kernel, D, H, block, N, 0, D + P, panel);
      pack_gates_apart(a.recurrent, P, H, block, N, D, D + P, panel);
    });
  }
  if (a.projection) pack_columns(a.projection, H, P, P, 1, shares.states, scratch.projection, mine);
  for_own(a.batch, [&](Range places) { start_forward(a, scratch, places, shares); });
  team.wait();

  int64_t ahead_begin = 0, ahead_end = 0;
  for (int64_t s = 0; s < T; ++s) {
    ForwardStep step(a, scratch, s);
    const int64_t active = scratch.steps.active(s);
    if (scratch.ahead) {
      if (s == ahead_end) {
        ahead_begin = s;
        do {
          ++ahead_end;
        } while (ahead_end < T &&
                 ahead_entry(a, scratch.steps, plan, ahead_begin, ahead_end + 1) <= kAhead);
        const Range steps{ahead_begin, ahead_end};
        if (in_bfloat16(a)) {
          compute_ahead16(a, scratch, plan, team.index, steps, blocks);
        } else {
          compute_ahead(a, scratch, steps, blocks);
        }
      }
      step.ahead_block = ForwardScratch::ahead_entries(a) * kTile;
      step.ahead = scratch.ahead + ahead_entry(a, scratch.steps, plan, ahead_begin, s) * kTile;
    } else if (a.x_dropout) {
      step.x = drop_inputs(a, scratch, plan, team, s);
    }
    if (gated(a) && !in_bfloat16(a)) {
      for_blocks(blocks, [&](int64_t block, auto width) {
        for_own(active, [&](Range places) {
          auto tile = [&](int64_t place, auto height) {
            constexpr int R = decltype(height)::count, N = decltype(width)::count;
            if (a.norm_gain) {
              norm_gated_tile<R, N>(step, place, block);
            } else {
              gated_tile<R, N>(step, place, block);
            }
          };
          call_rows(places.size(), places.begin, tile);
        });
      });
    } else {
      for (int64_t block = blocks.begin; block < blocks.end; ++block) {
        for_own(active, [&](Range places) {
          if (in_bfloat16(a)) {
            a.norm_gain ? norm_group(step, places, block) : forward_group(step, places, block);
            return;
          }
          auto tile = [&](int64_t place, auto height) {
            constexpr int R = decltype(height)::count;
            a.norm_gain ? norm_tile<R>(step, place, block) : forward_tile<R>(step, place, block);
          };
          call_rows(places.size(), places.begin, tile);
        });
      }
    }
    if (!plan.by_rows) team.wait();
    const auto also = [&](Range share, auto... parts) {
      for_own(active, [&](Range places) { (parts(step, places, share), ...); });
      if (!plan.by_rows) team.wait();
    };
    if (a.norm_gain && plan.by_rows) also(blocks, norm_gates, norm_cells);
    if (a.norm_gain && !plan.by_rows) {
      also(blocks, norm_gates);
      also(blocks, norm_cells);
    }
    if (a.projection) also(shares.states, project_forward);
    if (a.trace_i) for_own(active, [&](Range places) { trace_step(step, places, blocks); });
  }
  for_own(a.batch, [&](Range places) { finish_forward(a, scratch, places, shares); });
  end_products();
}

}  // namespace
