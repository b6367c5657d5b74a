// Layer norm in the backward pass. The gradient of a normalised row v = (u - mean) / deviation is
//
//   du = (dv - mean(dv) - v mean(dv v)) / deviation
//
// with means over all units, so that the cell's derivative comes in three parts, between which threads
// that take units wait for each other: from the gradient of o A(norm(c)) to that of norm(c); to that
// of z; to those of x W and h U.
#pragma once
#include "cell_backward.h"

namespace {

// The two means of a place from its blocks' parts.
struct NormMeans {
  Vector plain, weighted;
  NormMeans() = default;
  NormMeans(const longshort_lstm& a, const BackwardScratch& scratch, int64_t which, int64_t place,
            float number) {
    Vector sums[2] = {};
    for (int64_t block = 0; block < blocks_of(a.units); ++block)
      for (int n = 0; n < 2; ++n)
        sums[n] += load(scratch.parts_at(a, which, place, block) + n * kBlock);
    plain = splat(sum_lanes(sums[0]) / number);
    weighted = splat(sum_lanes(sums[1]) / number);
  }
  LONGSHORT_INLINE Vector gradient(Vector dv, Vector v, float scale) const {
    return (dv - plain - v * weighted) * splat(scale);
  }
};
// Which of them.
enum { kOfCell, kOfX, kOfH };

// Adds to a block's part of them.
LONGSHORT_INLINE void store_parts(float* parts, Vector plain, Vector weighted) {
  store(parts, plain);
  store(parts + kBlock, weighted);
}

// The moments of an entry as saved.
struct NormEntry {
  Moments x, h, c;
  NormEntry() = default;
  NormEntry(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s, int64_t place) {
    const float* saved = statistics_at(a, scratch.steps, s, place);
    x = Moments(saved);
    h = Moments(saved + 2);
    c = Moments(saved + 4);
  }
};

LONGSHORT_INLINE void add_to(float* sum, Vector value) { store(sum, load(sum) + value); }

// From the gradient of o A(norm(c)): dz of o, and the gradient of c without its statistics.
inline void norm_out_backward(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                              Range places, Range blocks) {
  const int64_t H = a.units;
  const Noise noise(a, s);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const VariedBackward at(a, scratch, noise, s, block);
    const Vector gain = load_n(a.norm_cell + at.unit, H - at.unit),
                 bias = load_n(a.norm_cell + H + at.unit, H - at.unit);
    float* sums = scratch.sums_at(a, scratch.sum_of(a, places.begin), block);
    Vector dgain = load(sums + kNormCellSum * kBlock), dbias = load(sums + (kNormCellSum + 1) * kBlock);
    for (int64_t place = places.begin; place < places.end; ++place) {
      if (masked(a, at.row_of(place), s)) continue;
      const auto past = at.recall(place);
      const Vector normed = NormEntry(a, scratch, s, place).c(past.c);
      float* kept = scratch.dcells_at(a, place, block);
      Vector dz, dc;
      at.varied.out_backward(past.cell, mul_add(gain, normed, bias), load(kept), dz, dc);
      store(a.dz_x + at.entry(place) * kTile + 3 * kBlock, dz);
      dgain = mul_add(dc, normed, dgain);
      dbias += dc;
      dc *= gain;
      store(kept, dc);
      store_parts(scratch.parts_at(a, kOfCell, place, block), dc, dc * normed);
    }
    store(sums + kNormCellSum * kBlock, dgain);
    store(sums + (kNormCellSum + 1) * kBlock, dbias);
  }
}

// To the gradient of z, which is kept in dz_x, and those of x W and h U without their statistics.
inline void norm_cell_backward(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                               Range places, Range blocks) {
  NormMeans means[kGroup];
  NormEntry entries[kGroup];
  for (int64_t r = 0; r < places.size(); ++r) {
    means[r] = NormMeans(a, scratch, kOfCell, places.begin + r, static_cast<float>(a.units));
    entries[r] = NormEntry(a, scratch, s, places.begin + r);
  }
  const Noise noise(a, s);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const VariedBackward at(a, scratch, noise, s, block);
    const float* gains = scratch.norm_gains + block * 2 * kTile;
    float* sums = scratch.sums_at(a, scratch.sum_of(a, places.begin), block);
    for (int64_t r = 0; r < places.size(); ++r) {
      const int64_t place = places.begin + r, row = at.row_of(place), entry = at.entry(place);
      if (masked(a, row, s)) continue;
      const auto past = at.recall(place);
      const NormEntry& moments = entries[r];
      const Vector dc = keep_n(means[r].gradient(load(scratch.dcells_at(a, place, block)),
                                                 moments.c(past.c), moments.c.scale),
                               a.units - at.unit);
      float* running = scratch.dc_at(a, place, block);
      float* dz = a.dz_x + entry * kTile;
      const auto d = at.varied.backward(row, past, load(dz + 3 * kBlock), dc, load(running));
      store(running, d.c);
      for (int n = 0; a.dpeephole && n < 3; ++n)
        add_to(sums + (kPeepholeSum + n) * kBlock, d.peephole[n]);
      const float *x = at.products(0) + place * kTile, *h = at.products(1) + place * kTile;
      Vector plain[2] = {}, weighted[2] = {};
      for (int64_t g = 0; g < kGates; ++g) {
        const int64_t n = g * kBlock;
        const Vector normed[2] = {moments.x(load(x + n)), moments.h(load(h + n))};
        for (int64_t i = 0; i < 2; ++i) {
          const Vector dv = d.z[g] * load(gains + i * kTile + n);
          plain[i] += dv;
          weighted[i] = mul_add(dv, normed[i], weighted[i]);
          float* sum = sums + (kNormGainSum + i * kGates + g) * kBlock;
          store(sum, mul_add(d.z[g], normed[i], load(sum)));
        }
        add_to(sums + (kNormBiasSum + g) * kBlock, d.z[g]);
        store(dz + n, d.z[g]);
      }
      store_parts(scratch.parts_at(a, kOfX, place, block), plain[0], weighted[0]);
      store_parts(scratch.parts_at(a, kOfH, place, block), plain[1], weighted[1]);
    }
  }
}

// To those of x W and of h U, which is what the products go on with.
inline void norm_gates_backward(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                                Range places, Range blocks) {
  NormMeans of_x[kGroup], of_h[kGroup];
  NormEntry entries[kGroup];
  const float number = normed_gates(a) * static_cast<float>(a.units);
  for (int64_t r = 0; r < places.size(); ++r) {
    of_x[r] = NormMeans(a, scratch, kOfX, places.begin + r, number);
    of_h[r] = NormMeans(a, scratch, kOfH, places.begin + r, number);
    entries[r] = NormEntry(a, scratch, s, places.begin + r);
  }
  const Noise noise(a, s);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const VariedBackward at(a, scratch, noise, s, block);
    const float* gains = scratch.norm_gains + block * 2 * kTile;
    const int64_t width = a.units - at.unit;
    for (int64_t r = 0; r < places.size(); ++r) {
      const int64_t place = places.begin + r, entry = at.entry(place);
      const bool skipped = masked(a, at.row_of(place), s);
      const KeepDz put(a, scratch, s, place, block, entry);
      const NormEntry& moments = entries[r];
      float* dz = a.dz_x + entry * kTile;
      const float *x = at.products(0) + place * kTile, *h = at.products(1) + place * kTile;
      for (int64_t g = 0; g < kGates; ++g) {
        const int64_t n = g * kBlock;
        Vector dx = {}, dh = {};
        if (!skipped && g >= first_gate(a)) {
          const Vector d = load(dz + n);
          dx = of_x[r].gradient(d * load(gains + n), moments.x(load(x + n)), moments.x.scale);
          dh = of_h[r].gradient(d * load(gains + kTile + n), moments.h(load(h + n)), moments.h.scale);
        }
        store(dz + n, keep_n(dx, width));
        put(g, keep_n(dh, width));
      }
    }
  }
}

}  // namespace
