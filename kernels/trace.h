// What goes on inside, laid out for the caller: step by step, while it lies in the cache.
#pragma once
#include "shares.h"

namespace {

// The gates and c of one step, of some places and blocks, from where the cells of this step kept them.
inline void trace_step(const ForwardStep& step, Range places, Range blocks) {
  const longshort_lstm& a = step.a;
  const int64_t H = a.units;
  float* const gates[kGates] = {a.trace_i, a.trace_f, a.trace_g, a.trace_o};
  for (int64_t place = places.begin; place < places.end; ++place) {
    const int64_t row = step.scratch.steps.row[place];
    const bool skipped = masked(a, row, step.s);
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int64_t unit = block * kBlock, at = block * step.saved_block + place;
      const int64_t out = (row * a.time + time_of(a, step.s)) * H + unit;
      for (int64_t g = 0; g < kGates; ++g)
        store_n(gates[g] + out, skipped ? Vector{} : load(step.gates + at * kTile + g * kBlock),
                H - unit);
      store_n(a.trace_c + out, load(step.cells + at * kBlock), H - unit);
    }
  }
}

// The same at steps of a row that are not computed: c is that before its first or after its last.
inline void trace_skipped(const longshort_lstm& a, const ForwardScratch& scratch, int64_t place,
                          Range blocks) {
  const int64_t H = a.units, row = scratch.steps.row[place];
  const int64_t unit = blocks.begin * kBlock, width = smaller(blocks.end * kBlock, H) - unit;
  float* const gates[kGates] = {a.trace_i, a.trace_f, a.trace_g, a.trace_o};
  const Range parts[2] = {{0, scratch.steps.begin[place]}, {scratch.steps.end[place], a.time}};
  const float* cells[2] = {a.c0 ? a.c0 + row * H + unit : nullptr,
                           scratch.cells_at(a, place, blocks.begin)};
  for (int n = 0; n < 2 && width > 0; ++n) {
    for (float* gate : gates) fill_skipped(a, gate + unit, H, row, parts[n], width, nullptr);
    fill_skipped(a, a.trace_c + unit, H, row, parts[n], width, cells[n]);
  }
}

}  // namespace
