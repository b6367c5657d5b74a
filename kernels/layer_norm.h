// Layer norm in the forward pass: the statistics of a row are of all its units, so that a step has
// three parts, between which threads that take units wait for each other: the products x W and h U;
// their norms, the gates and c; the norm of c and h.
#pragma once
#include "projection.h"

namespace {

constexpr float kNormEpsilon = 1e-5f;

// The first `n` lanes, zeros behind.
LONGSHORT_INLINE Vector keep_n(Vector v, int64_t n) {
  Integers lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return n >= kLanes ? v : lane < static_cast<int32_t>(n) ? v : Vector{};
}
LONGSHORT_INLINE float sum_lanes(Vector v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int n = kLanes / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
  return lanes[0];
}

// Gates that are normalised: all but i where it is coupled.
inline int64_t first_gate(const longshort_lstm& a) { return a.coupled ? 1 : 0; }
inline float normed_gates(const longshort_lstm& a) {
  return static_cast<float>(kGates - first_gate(a));
}

// What a block adds to the moments of its row: the mean over the gates, and the sum of squares about it.
LONGSHORT_INLINE void store_parts(const longshort_lstm& a, const Vector (&v)[4], float* parts) {
  Vector mean = v[1] + v[2] + v[3], squares = {};
  if (!a.coupled) mean += v[0];
  mean *= splat(1.0f / normed_gates(a));
  for (int64_t g = first_gate(a); g < kGates; ++g)
    squares = mul_add(v[g] - mean, v[g] - mean, squares);
  store(parts, mean);
  store(parts + kBlock, squares);
}

// Mean and 1 / deviation of a row. Every thread works them out for itself, in the same order.
struct Moments {
  float mean, scale;
  Moments() = default;
  explicit Moments(const float* saved) : mean(saved[0]), scale(saved[1]) {}

  // Of `gates` columns a unit, whose means lie `stride` floats apart, block by block; with more than one
  // their squares behind. Lanes past the last unit are zero.
  Moments(const float* parts, int64_t stride, int64_t units, float gates) {
    const int64_t blocks = blocks_of(units);
    const float number = static_cast<float>(units);
    Vector sum = {}, squares = {}, between = {};
    for (int64_t block = 0; block < blocks; ++block) sum += load(parts + block * stride);
    mean = sum_lanes(sum) / number;
    for (int64_t block = 0; block < blocks; ++block) {
      const float* part = parts + block * stride;
      const Vector off = keep_n(load(part) - splat(mean), units - block * kBlock);
      between = mul_add(off, off, between);
      if (gates > 1.0f) squares += load(part + kBlock);
    }
    const float variance = sum_lanes(mul_add(splat(gates), between, squares)) / (gates * number);
    scale = 1.0f / __builtin_sqrtf(variance + kNormEpsilon);
  }
  LONGSHORT_INLINE Vector operator()(Vector v) const { return (v - splat(mean)) * splat(scale); }
  void save(float* to) const {
    to[0] = mean;
    to[1] = scale;
  }
};

// Where the moments of x W, h U and c of an entry are saved.
inline float* statistics_at(const longshort_lstm& a, const Steps& steps, int64_t s, int64_t place) {
  return a.statistics + 6 * (steps.first[s] + place);
}

LONGSHORT_INLINE void keep_products(const ForwardStep& step, int64_t which, int64_t place,
                                    int64_t block, const Vector (&v)[4]) {
  float* out = step.products_at(which, place, block);
  for (int g = 0; g < 4; ++g) store(out + g * kBlock, v[g]);
  store_parts(step.a, v, step.parts_at(which, place, block));
}

// x W and h U of some places and one block of units.
template <int R>
void norm_tile(const ForwardStep& step, int64_t place, int64_t block) {
  const longshort_lstm& a = step.a;
  const int64_t D = a.features, P = a.outputs;
  const float* weights = step.scratch.weights + block * (D + P) * kTile;
  prefetch_saved(step, place, R, block);
  for (int64_t which = 0; which < 2; ++which)
    prefetch<true>(step.products_at(which, place, block), R * kTile);
  Tile<R, 4> z;
  clear(z);
  if (step.ahead) {
    const float* ahead = step.ahead + block * step.ahead_block + place * kTile;
    for (int r = 0; r < R; ++r)
      for (int g = 0; g < 4; ++g) z.sum[r][g] = load(ahead + r * kTile + g * kBlock);
  } else {
    add_product(step, 0, place, weights, 0, z);
  }
  for (int r = 0; r < R; ++r) keep_products(step, 0, place + r, block, z.sum[r]);
  clear(z);
  add_product(step, 1, place, weights, 0, z);
  for (int r = 0; r < R; ++r) keep_products(step, 1, place + r, block, z.sum[r]);
}

// The same with dropout of x or h: N blocks, gate by gate.
template <int R, int N>
void norm_gated_tile(const ForwardStep& step, int64_t place, int64_t block) {
  const int64_t depth = step.a.features + step.a.outputs;
  for (int64_t which = 0; which < 2; ++which) {
    const float* weights = step.scratch.weights + block * depth * kTile;
    Vector sums[N][R][4];
    for (int64_t g = 0; g < kGates; ++g, weights += depth * N * kBlock) {
      Tile<R, N> z;
      clear(z);
      add_product(step, which, place, weights, g, z);
      for (int n = 0; n < N; ++n)
        for (int r = 0; r < R; ++r) sums[n][r][g] = z.sum[r][n];
    }
    for (int n = 0; n < N; ++n)
      for (int r = 0; r < R; ++r) keep_products(step, which, place + r, block + n, sums[n][r]);
  }
}

// The same of bfloat16s, where x W is always there.
inline void norm_group(const ForwardStep& step, Range places, int64_t block) {
  const longshort_lstm& a = step.a;
  const Pieces pieces(a);
  float* sums[2] = {step.ahead + block * step.ahead_block + places.begin * kTile,
                    step.products_at(1, places.begin, block)};
  const Product product = whole_product(
      pieces, pieces.chunks(a.outputs), step.scratch.states16_at(a, step.s) + places.begin * kChunk, a.batch,
      step.scratch.weights16(a, block) + pieces.room(a.features) * kTile, kGates, sums[1], kTile, false);
  if (!step.has_h) {
    memset(sums[1], 0, places.size() * kTile * sizeof(float));
  } else if (a.h_dropout) {
    multiply_gated(product, places.size(), a.batch * pieces.room(a.outputs));
  } else {
    multiply<4>(product, places.size());
  }
  for (int64_t which = 0; which < 2; ++which) {
    for (int64_t r = 0; r < places.size(); ++r) {
      Vector v[4];
      for (int g = 0; g < 4; ++g) v[g] = load(sums[which] + r * kTile + g * kBlock);
      keep_products(step, which, places.begin + r, block, v);
    }
  }
}

// From the products to the gates and c.
inline void norm_gates(const ForwardStep& step, Range places, Range blocks) {
  const longshort_lstm& a = step.a;
  Moments of_x[kGroup], of_h[kGroup];
  for (int64_t r = 0; r < places.size(); ++r) {
    const int64_t place = places.begin + r;
    of_x[r] = Moments(step.parts_at(0, place, 0), 2 * kBlock, a.units, normed_gates(a));
    of_h[r] = Moments(step.parts_at(1, place, 0), 2 * kBlock, a.units, normed_gates(a));
    if (a.statistics && blocks.begin == 0) {
      float* statistics = statistics_at(a, step.scratch.steps, step.s, place);
      of_x[r].save(statistics);
      of_h[r].save(statistics + 2);
    }
  }
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const CellForward cell(step, places.begin, block);
    const VariedCell varied(a, step.noise, block);
    const float *x = step.products_at(0, places.begin, block),
                *h = step.products_at(1, places.begin, block);
    const float* gains = step.scratch.norm_gains + block * 2 * kTile;
    const float* bias = step.scratch.bias + block * kTile;
    for (int64_t r = 0; r < places.size(); ++r) {
      const int64_t row = cell.row_of(r);
      alignas(64) float z[kTile];
      for (int64_t n = 0; n < kTile; n += kBlock) {
        const Vector of_state = mul_add(load(gains + kTile + n), of_h[r](load(h + r * kTile + n)),
                                        load(bias + n));
        store(z + n, mul_add(load(gains + n), of_x[r](load(x + r * kTile + n)), of_state));
      }
      const Cell made = varied.forward(row, z, load(cell.running + r * cell.width));
      cell.keep(r, cell.skips(row), made);
      store(step.candidates_at(0, places.begin + r, block), made.h);
      store(step.candidates_at(1, places.begin + r, block), made.o);
    }
  }
}

// From c to h, or to what is projected.
inline void norm_cells(const ForwardStep& step, Range places, Range blocks) {
  const longshort_lstm& a = step.a;
  const int64_t H = a.units;
  Moments moments[kGroup];
  for (int64_t r = 0; r < places.size(); ++r) {
    const int64_t place = places.begin + r;
    moments[r] = Moments(step.candidates_at(0, place, 0), kBlock, H, 1.0f);
    if (a.statistics && blocks.begin == 0)
      moments[r].save(statistics_at(a, step.scratch.steps, step.s, place) + 4);
  }
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const int64_t unit = block * kBlock;
    const Vector gain = load_n(a.norm_cell + unit, H - unit),
                 bias = load_n(a.norm_cell + H + unit, H - unit);
    const VariedCell varied(a, step.noise, block);
    const OutForward out(step, places.begin, block);
    for (int64_t r = 0; r < places.size(); ++r) {
      const int64_t place = places.begin + r, row = step.scratch.steps.row[place];
      const Vector c = mul_add(gain, moments[r](load(step.candidates_at(0, place, block))), bias);
      const Vector o = load(step.candidates_at(1, place, block));
      out.keep(r, row, masked(a, row, step.s), varied.out(o, c));
    }
  }
}

}  // namespace
