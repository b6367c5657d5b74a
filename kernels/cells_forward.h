// The cells that are not inlined behind their product, forward: from sums (rows, 4, kLanes) in memory
// to the new states, for some places of one block.
#pragma once
#include "cell_forward.h"
#include "gru_cell.h"
#include "slstm_cell.h"

namespace {

__attribute__((noinline)) inline void gru_rows(const ForwardStep& step, Range places, int64_t block,
                                               const float* sums) {
  const CellForward cell(step, places.begin, block);
  const StateForward state(step, places.begin, block);
  const GRUCell gru(step.a);
  for (int64_t r = 0; r < places.size(); ++r) {
    const int64_t row = cell.row_of(r);
    const bool skipped = cell.skips(row);
    const Cell made = gru.forward(sums + r * kTile, load(cell.running + r * cell.width));
    cell.keep(r, skipped, made);
    state.keep(r, row, skipped, made.h);
  }
}

__attribute__((noinline)) inline void slstm_rows(const ForwardStep& step, Range places,
                                                 int64_t block, const float* sums) {
  const longshort_lstm& a = step.a;
  const CellForward cell(step, places.begin, block);
  const StateForward state(step, places.begin, block);
  const SLSTMCell slstm(a);
  for (int64_t r = 0; r < places.size(); ++r) {
    const int64_t row = cell.row_of(r);
    const bool skipped = cell.skips(row);
    float* n = step.scratch.cells_at(a, places.begin + r, block, 1);
    float* m = step.scratch.cells_at(a, places.begin + r, block, 2);
    const Vector c = load(cell.running + r * cell.width);
    const auto made = slstm.forward(sums + r * kTile, SLSTMCell::States{c, load(n), load(m)});
    if (!skipped) {
      store(n, made.n);
      store(m, made.m);
    }
    if (cell.saves) {
      store(cell.cells + longshort::saved_cells(a) + r * kBlock, load(n));
      store(cell.cells + 2 * longshort::saved_cells(a) + r * kBlock, made.kept);
    }
    cell.keep(r, skipped, made.cell);
    state.keep(r, row, skipped, made.cell.h);
  }
}

inline void other_rows(const ForwardStep& step, Range places, int64_t block, const float* sums) {
  switch (step.a.cell) {
    case LONGSHORT_GRU: return gru_rows(step, places, block, sums);
    case LONGSHORT_SLSTM: return slstm_rows(step, places, block, sums);
    default: return varied_rows(step, places, block, sums);
  }
}

}  // namespace
