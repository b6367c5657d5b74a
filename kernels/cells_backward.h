// The cells that are not inlined behind their product, backward: from the gradient of h at a step to dz
// and to the gradients of the states before it, for one place and block.
#pragma once
#include "cell_backward.h"
#include "gru_cell.h"
#include "slstm_cell.h"

namespace {

// Adds dhs to the gradient of h. A masked step keeps it for the step before, and has no dz; then false.
LONGSHORT_INLINE bool take_dh(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                              int64_t place, int64_t block, const KeepDz& put, Vector& dh) {
  const int64_t row = scratch.steps.row[place];
  const bool skipped = masked(a, row, s);
  dh = add_dhs(a, row, s, block, dh);
  store(scratch.dh_at(a, place, block), skipped ? dh : Vector{});
  if (skipped) put.zeros();
  return !skipped;
}

LONGSHORT_INLINE Cell saved_gates(const longshort_lstm& a, int64_t entry) {
  const float* gates = a.gates + entry * kTile;
  return Cell{load(gates), load(gates + kBlock), load(gates + 2 * kBlock), load(gates + 3 * kBlock),
              load(a.cells + entry * kBlock), {}};
}

__attribute__((noinline)) inline void gru_backward(const longshort_lstm& a,
                                                   const BackwardScratch& scratch, int64_t s,
                                                   int64_t place, int64_t block, Vector dh) {
  const int64_t entry = entry_of(a, scratch, s, place, block);
  const KeepDz put(a, scratch, s, place, block, entry);
  if (!take_dh(a, scratch, s, place, block, put, dh)) return;
  float* running = scratch.dc_at(a, place, block);
  dh += load(running);
  const Cell cell = saved_gates(a, entry);
  Vector dz[4];
  GRUCell(a).backward(cell, cell_before(a, scratch, s, place, block), dh, dz);
  for (int g = 0; g < 4; ++g) put(g, dz[g]);
  store(running, dh * cell.i);
}

__attribute__((noinline)) inline void slstm_backward(const longshort_lstm& a,
                                                     const BackwardScratch& scratch, int64_t s,
                                                     int64_t place, int64_t block, Vector dh) {
  const int64_t entry = entry_of(a, scratch, s, place, block), plane = longshort::saved_cells(a);
  const KeepDz put(a, scratch, s, place, block, entry);
  if (!take_dh(a, scratch, s, place, block, put, dh)) return;
  const float* saved = a.cells + entry * kBlock;
  const SLSTMCell::Step step{saved_gates(a, entry), load(saved + plane), {}, load(saved + 2 * plane)};
  const SLSTMCell::States before{cell_before(a, scratch, s, place, block, 0),
                                 cell_before(a, scratch, s, place, block, 1), Vector{}};
  const auto running = [&](int64_t state) { return scratch.dc_at(a, place, block, state); };
  const SLSTMCell::States after{load(running(0)), load(running(1)), load(running(2))};
  const auto d = SLSTMCell(a).backward(step, before, dh, after);
  for (int g = 0; g < 4; ++g) put(g, d.z[g]);
  store(running(0), d.states.c);
  store(running(1), d.states.n);
  store(running(2), d.states.m);
}

// Between the gradient of m while c and n stay what they are, which the caller has, and that of the
// cell (slstm_cell.h): a change of m alone changes c exp(m) and n exp(m) by themselves.
LONGSHORT_INLINE void slstm_add_to_m(const longshort_lstm& a, const BackwardScratch& scratch,
                                     int64_t s, int64_t place, int64_t block, float sign) {
  float* dm = scratch.dc_at(a, place, block, 2);
  Vector sum = {};
  for (int64_t state = 0; state < 2; ++state)
    sum = mul_add(load(scratch.dc_at(a, place, block, state)),
                  cell_before(a, scratch, s, place, block, state), sum);
  store(dm, mul_add(sum, splat(sign), load(dm)));
}

LONGSHORT_INLINE void other_backward(const longshort_lstm& a, const BackwardScratch& scratch,
                                     int64_t s, int64_t place, int64_t block, Vector dh) {
  switch (a.cell) {
    case LONGSHORT_GRU: return gru_backward(a, scratch, s, place, block, dh);
    case LONGSHORT_SLSTM: return slstm_backward(a, scratch, s, place, block, dh);
    default: return VariedBackward(a, scratch, Noise(a, s), s, block).state(place, dh);
  }
}

}  // namespace
