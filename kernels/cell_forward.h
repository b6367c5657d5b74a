// What a forward call works on: its scratch, one step, and the cell from z to the new state.
#pragma once
#include "bfloat16.h"
#include "pool.h"
#include "steps.h"
#include "varied_cell.h"

namespace {

using longshort::masked;
using longshort::Steps;
using longshort::Team;
using longshort::time_of;

inline bool gated(const longshort_lstm& a) { return a.x_dropout || a.h_dropout; }

// Entries (steps x places) whose x W is computed ahead at a time, at least one step's.
constexpr int64_t kAhead = 256;

// Scratch of one forward call. States and what derives from them are kept by places, twice: for
// the step that is read and the step that is written.
struct ForwardScratch {
  const Steps& steps;
  const bool varied;  // whether the cell is a variant's
  float* weights;  // (blocks, D + P, 4, kLanes), or the blocks' right factors of bfloat16s; else with dropout of x or
                   // h (4, D + P, count, kLanes) for each `count` blocks of for_blocks
  float* bias;     // (blocks, 4, kLanes)
  float* cells;    // (S, B, blocks kLanes), the running c, and what the cell has beside it
  float* states;   // (2, B, width), the running h; its width is P in whole blocks
  float* dropped;  // (2, 4, B, width), h times h_dropout, or null
  float* inputs;   // (threads, 4, B, D), x times x_dropout, or null
  float* ahead;    // (blocks, kAhead or B, 4, kLanes), x W + b, or null
  float *traced, *traced_cells;  // (blocks, B, 4, kLanes) and (blocks, B, kLanes) of one step, or null
  float* outs;        // (B, blocks kLanes), o A(c) by places, what is projected, or null
  float* norm_gains;  // (blocks, 2, 4, kLanes), layer norm's of x W and h U, or null, as are
  float* products;    // (2, blocks, B, 4, kLanes), x W and h U by places, where they are not saved
  float* parts;       // (2, B, blocks, 2, kLanes) by places, of their moments
  float* candidates;  // (2, B, blocks kLanes), c before zoneout and o by places
  float* projection;  // packed, see projection.h, or null
  Bfloat16* states16;  // of bfloat16s: (2, 4 or 1, chunks of P, B, kChunk), h times h_dropout as a left factor
  Bfloat16* inputs16;  // (threads, 4 or 1, chunks of D, kAhead or B, kChunk), x times x_dropout
  int64_t size;

  ForwardScratch(const longshort_lstm& a, const Plan& plan, const Steps& made, float* data)
      : steps(made), varied(::varied(a)) {
    const int64_t blocks = blocks_of(a.units), width = blocks_of(a.outputs) * kBlock, B = a.batch;
    const Pieces pieces(a);
    const int64_t D16 = pieces.room(a.features), P16 = pieces.room(a.outputs);
    Taker taker{data, 0};
    weights = taker.take(in_bfloat16(a) ? halved(blocks * (D16 + P16) * kTile)
                                        : blocks * (a.features + a.outputs) * kTile);
    bias = taker.take(blocks * kTile);
    cells = taker.take(longshort::states_of(a) * blocks * B * kBlock);
    states = taker.take(2 * B * width);
    dropped = taker.take(a.h_dropout && !in_bfloat16(a) ? 2 * kGates * B * width : 0);
    inputs = taker.take(a.x_dropout && !in_bfloat16(a) ? plan.threads * kGates * B * a.features : 0);
    ahead = taker.take(plan.x_ahead || in_bfloat16(a) ? blocks * ahead_entries(a) * kTile : 0);
    norm_gains = taker.take(a.norm_gain ? 2 * blocks * kTile : 0);
    products = taker.take(a.norm_gain && !a.products ? 2 * blocks * B * kTile : 0);
    parts = taker.take(a.norm_gain ? 4 * B * blocks * kBlock : 0);
    candidates = taker.take(a.norm_gain ? 2 * B * blocks * kBlock : 0);
    traced = taker.take(a.trace_i ? blocks * B * kTile : 0);
    traced_cells = taker.take(a.trace_i ? blocks * B * kBlock : 0);
    outs = taker.take(a.projection ? B * blocks * kBlock : 0);
    projection = taker.take(a.projection ? a.units * width : 0);
    states16 = reinterpret_cast<Bfloat16*>(
        taker.take(in_bfloat16(a) ? halved(2 * state_gates(a) * B * P16) : 0));
    inputs16 = reinterpret_cast<Bfloat16*>(
        taker.take(in_bfloat16(a) ? halved(plan.threads * inputs16_size(a)) : 0));
    size = taker.used;
  }
  float* cells_at(const longshort_lstm& a, int64_t place, int64_t block, int64_t state = 0) const {
    return cells + ((state * a.batch + place) * blocks_of(a.units) + block) * kBlock;
  }
  static int64_t state_gates(const longshort_lstm& a) { return a.h_dropout ? kGates : 1; }
  static int64_t inputs16_size(const longshort_lstm& a) {
    return (a.x_dropout ? kGates : 1) * ahead_entries(a) * Pieces(a).room(a.features);
  }
  Bfloat16* states16_at(const longshort_lstm& a, int64_t step) const {
    return states16 + step % 2 * state_gates(a) * a.batch * Pieces(a).room(a.outputs);
  }
  const Bfloat16* weights16(const longshort_lstm& a, int64_t block) const {
    return reinterpret_cast<const Bfloat16*>(weights) +
           block * (Pieces(a).room(a.features) + Pieces(a).room(a.outputs)) * kTile;
  }
  static int64_t ahead_entries(const longshort_lstm& a) {
    return kAhead > a.batch ? kAhead : a.batch;
  }
};

// One step of one thread: what its tiles read and write.
struct ForwardStep {
  const longshort_lstm& a;
  const ForwardScratch& scratch;
  int64_t s;
  const float* x;           // x of row 0; with x_dropout the thread's (4, B, D) by places
  float* ahead = nullptr;   // x W + b of the first place in block 0, or null
  int64_t ahead_block = 0;  // floats from one block of it to the next
  const bool has_h;         // false: h is zero, and there is no recurrent product
  // Where the cells of block 0 keep gates and c, for the backward pass or a trace, or null; entries
  // from one block to the next.
  float *gates, *cells;
  int64_t saved_block;
  const Noise noise;

  ForwardStep(const longshort_lstm& call, const ForwardScratch& all, int64_t step)
      : a(call), scratch(all), s(step), x(call.x + time_of(call, step) * call.features), has_h(step > 0 || call.h0), noise(call, step) {
    const Steps& steps = all.steps;
    gates = a.gates ? a.gates + steps.first[s] * kTile : all.traced;
    cells = a.gates ? a.cells + steps.first[s] * kBlock : all.traced_cells;
    saved_block = a.gates ? steps.total(a) : a.batch;
  }

  int64_t width() const { return blocks_of(a.outputs) * kBlock; }
  float* outs_at(int64_t place, int64_t block) const {
    return scratch.outs + (place * blocks_of(a.units) + block) * kBlock;
  }
  // x W (0) or h U (1) of layer norm.
  float* products_at(int64_t which, int64_t place, int64_t block) const {
    const int64_t at = which * blocks_of(a.units) + block;
    return a.products ? a.products + (at * scratch.steps.total(a) + scratch.steps.first[s] + place) * kTile
                      : scratch.products + (at * a.batch + place) * kTile;
  }
  float* parts_at(int64_t which, int64_t place, int64_t block) const {
    return scratch.parts + ((which * a.batch + place) * blocks_of(a.units) + block) * 2 * kBlock;
  }
  float* candidates_at(int64_t which, int64_t place, int64_t block) const {
    return scratch.candidates + ((which * a.batch + place) * blocks_of(a.units) + block) * kBlock;
  }
  // (B, width) of the step before and of this one; dropped has four of them.
  float* states(int64_t step) const { return scratch.states + step % 2 * a.batch * width(); }
  float* dropped(int64_t step) const {
    return scratch.dropped + step % 2 * kGates * a.batch * width();
  }
};

// Fetches what the cell will write, while the product before it runs.
LONGSHORT_INLINE void prefetch_saved(const ForwardStep& step, int64_t place, int64_t rows,
                                     int64_t block) {
  if (!step.gates) return;
  const int64_t at = block * step.saved_block + place;
  prefetch<true>(step.gates + at * kTile, rows * kTile);
  prefetch<true>(step.cells + at * kBlock, rows * kBlock);
}

// The left factors of a tile of places, for one gate where they differ.
template <int R>
LONGSHORT_INLINE Left<R> left_of_x(const ForwardStep& step, int64_t place, int64_t gate) {
  const longshort_lstm& a = step.a;
  const int64_t D = a.features;
  Left<R> x = left_at<R>(step.x + (gate * a.batch + place) * D, D, 1);
  for (int r = 0; !a.x_dropout && r < R; ++r)
    x.row[r] = step.x + step.scratch.steps.row[place + r] * a.time * D;
  return x;
}
template <int R>
LONGSHORT_INLINE Left<R> left_of_h(const ForwardStep& step, int64_t place, int64_t gate) {
  const int64_t width = step.width();
  const float* h = step.a.h_dropout ? step.dropped(step.s) + gate * step.a.batch * width
                                    : step.states(step.s);
  return left_at<R>(h + place * width, width, 1);
}
// x W (0) or h U (1) of a tile, added to z: of the four gates of a block, or of one gate of N blocks, as
// `weights` are packed.
template <int R, int N>
LONGSHORT_INLINE void add_product(const ForwardStep& step, int64_t which, int64_t place,
                                  const float* weights, int64_t gate, Tile<R, N>& z) {
  const int64_t D = step.a.features;
  if (which == 0) {
    multiply(z, left_of_x<R>(step, place, gate), weights, D);
  } else if (step.has_h) {
    multiply(z, left_of_h<R>(step, place, gate), weights + D * N * kBlock, step.a.outputs);
  }
}

// Writes kLanes units of h, with their dropout, as a left factor of bfloat16s.
LONGSHORT_INLINE void cut_state(const longshort_lstm& a, Bfloat16* states, int64_t place,
                                  int64_t row, int64_t unit, Vector h) {
  const int64_t P = a.outputs, B = a.batch;
  const Pieces pieces(a);
  const int64_t step = B * kChunk;
  for (int64_t g = 0; g < ForwardScratch::state_gates(a); ++g) {
    const Vector factor =
        a.h_dropout ? load_n(a.h_dropout + (g * B + row) * P + unit, P - unit) : splat(1.0f);
    store_pieces(states + g * pieces.chunks(P) * step + place * kChunk + pieces.in_row(unit, step), h * factor,
                 pieces, step);
  }
}

// Keeps the new h of one block. What is the same for all rows is worked out once: at small sizes the
// addresses would cost as much as the cell.
struct StateForward {
  const ForwardStep& step;
  const longshort_lstm& a;
  const int64_t first, unit, width, row_stride;
  const bool drops;
  float* hs;
  const float* previous;
  float* next;

  LONGSHORT_INLINE StateForward(const ForwardStep& now, int64_t place, int64_t block)
      : step(now),
        a(now.a),
        first(place),
        unit(block * kBlock),
        width(now.width()),
        row_stride(a.time * a.hs_stride),
        drops(in_bfloat16(a) || now.scratch.dropped) {
    previous = now.states(now.s) + place * width + unit;
    next = now.states(now.s + 1) + place * width + unit;
    hs = a.hs ? a.hs + time_of(a, now.s) * a.hs_stride + unit : nullptr;
  }

  // The tile's row r, which is the caller's `row`.
  LONGSHORT_INLINE void keep(int64_t r, int64_t row, bool skipped, Vector h) const {
    if (skipped) h = load(previous + r * width);
    store(next + r * width, h);
    if (hs) store_n(hs + row * row_stride, skipped && a.zero_masked ? Vector{} : h, a.outputs - unit);
    if (drops) drop_state(first + r, row, h);
  }

  // h with its dropout, where the next step's product reads it.
  void drop_state(int64_t place, int64_t row, Vector h) const {
    const int64_t P = a.outputs, B = a.batch;
    if (in_bfloat16(a)) {
      cut_state(a, step.scratch.states16_at(a, step.s + 1), place, row, unit, h);
      return;
    }
    float* dropped = step.dropped(step.s + 1) + place * width + unit;
    for (int64_t gate = 0; gate < kGates; ++gate) {
      const Vector factor = load_n(a.h_dropout + (gate * B + row) * P + unit, P - unit);
      store(dropped + gate * B * width, h * factor);
    }
  }
};

// From z to the new states, for one block of units.
struct CellForward {
  const ForwardStep& step;
  const longshort_lstm& a;
  const int64_t first, width;
  const bool masks, saves;
  float *running, *gates, *cells;

  LONGSHORT_INLINE CellForward(const ForwardStep& now, int64_t place, int64_t block)
      : step(now), a(now.a), first(place), width(blocks_of(a.units) * kBlock), masks(a.mask), saves(now.gates) {
    const int64_t entry = block * now.saved_block + place;
    running = now.scratch.cells_at(a, place, block);
    gates = saves ? now.gates + entry * kTile : nullptr;
    cells = saves ? now.cells + entry * kBlock : nullptr;
  }

  LONGSHORT_INLINE int64_t row_of(int64_t r) const { return step.scratch.steps.row[first + r]; }
  LONGSHORT_INLINE bool skips(int64_t row) const { return masks && masked(a, row, step.s); }
  // The tile's row r.
  LONGSHORT_INLINE void keep(int64_t r, bool skipped, const Cell& cell) const {
    const Vector c = skipped ? load(running + r * width) : cell.c;
    store(running + r * width, c);
    if (saves) {
      store(gates + r * kTile, cell.i);
      store(gates + r * kTile + kBlock, cell.f);
      store(gates + r * kTile + 2 * kBlock, cell.g);
      store(gates + r * kTile + 3 * kBlock, cell.o);
      store(cells + r * kBlock, c);
    }
  }
  LONGSHORT_INLINE void operator()(int64_t r, const Vector (&z)[4],
                                   const StateForward& state) const {
    const int64_t row = row_of(r);
    const Cell cell = make_cell(z, load(running + r * width));
    const bool skipped = skips(row);
    keep(r, skipped, cell);
    state.keep(r, row, skipped, cell.h);
  }
};

// What becomes of o A(c) of one block: the new h, or what is yet to be projected.
struct OutForward {
  const ForwardStep& step;
  const longshort_lstm& a;
  const int64_t block;
  const StateForward state;
  const Zoneout zoneout;

  OutForward(const ForwardStep& now, int64_t place, int64_t its_block)
      : step(now),
        a(now.a),
        block(its_block),
        state(now, place, its_block),
        zoneout(now.a, now.noise, its_block) {}

  // The place `r` after the first, which is the caller's `row`.
  LONGSHORT_INLINE void keep(int64_t r, int64_t row, bool skipped, Vector out) const {
    if (a.projection) {
      const int64_t H = a.units, unit = block * kBlock;
      store(step.outs_at(state.first + r, block), out);
      if (a.outs) store_n(a.outs + (row * a.time + time_of(a, step.s)) * H + unit, out, H - unit);
      return;
    }
    const Vector before = load(state.previous + r * state.width);
    state.keep(r, row, skipped, zoneout.state(Noise::kZoneoutH, row, before, out));
  }
};

// The same for the LSTM's variants, from sums (rows, 4, kLanes) in memory. Not inlined: the plain
// cell's registers are its own.
__attribute__((noinline)) inline void varied_rows(const ForwardStep& step, Range places,
                                                  int64_t block, const float* sums) {
  const CellForward cell(step, places.begin, block);
  const OutForward out(step, places.begin, block);
  const VariedCell varied(step.a, step.noise, block);
  for (int64_t r = 0; r < places.size(); ++r) {
    const int64_t row = cell.row_of(r);
    const bool skipped = cell.skips(row);
    const Cell made = varied.forward(row, sums + r * kTile, load(cell.running + r * cell.width));
    cell.keep(r, skipped, made);
    out.keep(r, row, skipped, varied.out(made.o, made.h));
  }
}

}  // namespace
