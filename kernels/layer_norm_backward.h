// Layer norm in the backward pass. The gradient of a normalised row v = (u - mean) / deviation is
//
//   du = (dv - mean(dv) - v mean(dv v)) / deviation
//
// with means over all units, so that the cell's derivative comes in three parts, between which threads
// that take units wait for each other: from the gradient of o A(norm(c)) to that of norm(c); to that
// of z; to that of h U.
#pragma once
#include "cell_backward.h"

namespace {

// The two means of a place from its blocks' parts.
struct NormMeans {
  Vector plain, weighted;
  NormMeans(const longshort_lstm& a, const BackwardScratch& scratch, int64_t which, int64_t place,
            float number) {
    Vector sums[2] = {};
    for (int64_t block = 0; block < blocks_of(a.units); ++block)
      for (int n = 0; n < 2; ++n)
        sums[n] += load(scratch.parts_at(a, which, place, block) + n * kBlock);
    plain = splat(sum_lanes(sums[0]) / number);
    weighted = splat(sum_lanes(sums[1]) / number);
  }
  Vector gradient(Vector dv, Vector v, float scale) const {
    return (dv - plain - v * weighted) * splat(scale);
  }
};
// Adds to a block's part of them.
LONGSHORT_INLINE void store_parts(float* parts, Vector plain, Vector weighted) {
  store(parts, plain);
  store(parts + kBlock, weighted);
}

// What the three parts share, for one place and block at step s.
struct NormStep {
  const longshort_lstm& a;
  const BackwardScratch& scratch;
  const int64_t s, place, block, row, unit, width, entry;
  const float* statistics;

  NormStep(const longshort_lstm& layer, const BackwardScratch& its, int64_t step, int64_t at,
           int64_t its_block)
      : a(layer),
        scratch(its),
        s(step),
        place(at),
        block(its_block),
        row(its.steps.row[at]),
        unit(block * kBlock),
        width(a.units - unit),
        entry(entry_of(layer, its, step, at, its_block)),
        statistics(statistics_at(a, its.steps, s, place)) {}

  bool skipped() const { return masked(a, row, s); }
  float* dz() const { return a.dz + entry * kTile; }
  Vector normed_cell(Vector c) const {
    return (c - splat(statistics[1])) * splat(statistics[2]);
  }
  void add(int64_t sum, Vector value) const {
    float* at = scratch.sums_at(a, place, block) + sum * kBlock;
    store(at, load(at) + value);
  }
};

// From dout, the gradient of o A(norm(c)): dz of o, and the gradient of c without its statistics.
void norm_out_backward(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                       int64_t place, int64_t block, Vector dout) {
  const NormStep now(a, scratch, s, place, block);
  if (now.skipped()) return;
  const VariedCell varied(a, s, block);
  const auto past = recall(a, scratch, varied, s, place, block);
  const Vector normed = now.normed_cell(past.c);
  const Vector gain = load_n(a.norm_cell + now.unit, now.width),
               bias = load_n(a.norm_cell + a.units + now.unit, now.width);
  Vector dz, dc;
  varied.out_backward(past.cell, mul_add(gain, normed, bias), dout, dz, dc);
  store(now.dz() + 3 * kBlock, dz);
  now.add(kNormCellSum, dc * normed);
  now.add(kNormCellSum + 1, dc);
  dc *= gain;
  store(scratch.dcells_at(a, place, block), dc);
  store_parts(scratch.parts_at(a, 0, place, block), dc, dc * normed);
}

// To the gradient of z, and that of h U without its statistics.
inline void norm_cell_backward(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                               int64_t place, Range blocks) {
  const NormMeans means(a, scratch, 0, place, static_cast<float>(a.units));
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const NormStep now(a, scratch, s, place, block);
    float* dz_x = a.dz_x + (now.row * a.time + time_of(a, s)) * kGates * a.units + now.unit;
    if (now.skipped()) {
      for (int64_t g = 0; g < kGates; ++g) store_n(dz_x + g * a.units, Vector{}, now.width);
      continue;
    }
    const VariedCell varied(a, s, block);
    const auto past = recall(a, scratch, varied, s, place, block);
    const Vector dc = keep_n(means.gradient(load(scratch.dcells_at(a, place, block)),
                                            now.normed_cell(past.c), now.statistics[2]),
                             now.width);
    float* running = scratch.dc_at(a, place, block);
    const auto d = varied.backward(now.row, past, load(now.dz() + 3 * kBlock), dc, load(running));
    store(running, d.c);
    for (int n = 0; n < 3; ++n) now.add(kPeepholeSum + n, d.peephole[n]);
    Vector plain = {}, weighted = {};
    for (int64_t g = 0; g < kGates; ++g) {
      const Vector normed = load(a.normed + now.entry * kTile + g * kBlock);
      const Vector dv = d.z[g] * load_n(a.norm_gain + g * a.units + now.unit, now.width);
      store_n(dz_x + g * a.units, d.z[g], now.width);
      now.add(kNormGainSum + g, d.z[g] * normed);
      store(now.dz() + g * kBlock, dv);
      plain += dv;
      weighted = mul_add(dv, normed, weighted);
    }
    store_parts(scratch.parts_at(a, 1, place, block), plain, weighted);
  }
}

// To that of h U, which is what the products go on with.
inline void norm_gates_backward(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                                int64_t place, Range blocks) {
  const NormMeans means(a, scratch, 1, place, normed_columns(a));
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const NormStep now(a, scratch, s, place, block);
    const KeepDz put(a, scratch, s, place, block, now.entry);
    for (int64_t g = 0; g < kGates; ++g) {
      Vector dz = {};
      if (!now.skipped() && g >= first_gate(a))
        dz = keep_n(means.gradient(load(now.dz() + g * kBlock),
                                   load(a.normed + now.entry * kTile + g * kBlock),
                                   now.statistics[0]),
                    now.width);
      put(g, dz);
    }
  }
}

}  // namespace
