// Layer norm in the forward pass: the statistics of a row are of all its units, so that a step has
// three parts, between which threads that take units wait for each other: the products h U; their
// norm, the gates and c; the norm of c and h.
#pragma once
#include "projection.h"

namespace {

constexpr float kNormEpsilon = 1e-5f;

// The first `n` lanes, zeros behind.
LONGSHORT_INLINE Vector keep_n(Vector v, int64_t n) {
  if (n >= kLanes) return v;
  float lanes[kLanes];
  store(lanes, v);
  return load_n(lanes, n);
}
LONGSHORT_INLINE float sum_lanes(Vector v) {
  float sum = 0.0f;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

// Gates that are normalised: all but i where it is coupled.
inline int64_t first_gate(const longshort_lstm& a) { return a.coupled ? 1 : 0; }
inline float normed_columns(const longshort_lstm& a) {
  return static_cast<float>((kGates - first_gate(a)) * a.units);
}

// Mean and 1 / deviation of a row (blocks, count, kLanes), without the vectors before `first`. Every
// thread works them out for itself, in the same order.
struct Moments {
  float mean, scale;
  Moments() = default;
  Moments(const float* row, int64_t units, int64_t first, int64_t count) {
    const float number = static_cast<float>((count - first) * units);
    const auto sum = [&](auto term) {
      Vector total = {};
      for (int64_t block = 0; block < blocks_of(units); ++block)
        for (int64_t v = first; v < count; ++v)
          total += keep_n(term(load(row + (block * count + v) * kBlock)), units - block * kBlock);
      return sum_lanes(total) / number;
    };
    const float middle = mean = sum([](Vector v) { return v; });
    const float variance = sum([&](Vector v) { return (v - splat(middle)) * (v - splat(middle)); });
    scale = 1.0f / __builtin_sqrtf(variance + kNormEpsilon);
  }
  Vector operator()(Vector v) const { return (v - splat(mean)) * splat(scale); }
};

// h U of some places and one block of units.
template <bool Gated, int R>
void norm_tile(const ForwardStep& step, int64_t place, int64_t block) {
  const longshort_lstm& a = step.a;
  Tile<R, 4> z = {};
  if (step.has_h) {
    const int64_t width = step.width();
    const float* h = (Gated ? step.dropped(step.s) : step.states(step.s)) + place * width;
    multiply<Gated>(z, left_at<R>(h, width, 1, Gated ? a.batch * width : 0),
                    step.scratch.weights + block * a.outputs * kTile, a.outputs);
  }
  for (int r = 0; r < R; ++r)
    for (int g = 0; g < 4; ++g) store(step.sums_at(place + r, block) + g * kBlock, z.sum[r][g]);
}
inline void norm_products(const ForwardStep& step, Range places, int64_t block) {
  const longshort_lstm& a = step.a;
  if (!rounds(a)) {
    auto tile = [&](int64_t place, auto height) {
      if (a.h_dropout) {
        norm_tile<true, decltype(height)::count>(step, place, block);
      } else {
        norm_tile<false, decltype(height)::count>(step, place, block);
      }
    };
    call_rows(places.size(), places.begin, tile);
    return;
  }
  if (!step.has_h) {
    for (int64_t place = places.begin; place < places.end; ++place)
      memset(step.sums_at(place, block), 0, kTile * sizeof(float));
    return;
  }
  const int64_t depth = pad_depth(a.outputs);
  const Product product{step.scratch.states16_at(a, step.s) + places.begin * depth,
                        depth,
                        step.scratch.weights16(a, block),
                        kTile * 2,
                        depth,
                        step.sums_at(places.begin, block),
                        blocks_of(a.units) * kTile,
                        false};
  if (a.h_dropout) {
    multiply_gated(product, places.size(), a.batch * depth);
  } else {
    multiply<4>(product, places.size());
  }
}

// Where the three statistics of an entry are: of h U the scale, of c the mean and the scale.
inline float* statistics_at(const longshort_lstm& a, const Steps& steps, int64_t s, int64_t place) {
  return a.statistics + 3 * (steps.first[s] + place);
}

// From h U to the gates and c.
inline void norm_gates(const ForwardStep& step, Range places, Range blocks) {
  const longshort_lstm& a = step.a;
  const int64_t H = a.units;
  Moments moments[kGroup];
  for (int64_t r = 0; r < places.size(); ++r) {
    const int64_t place = places.begin + r;
    moments[r] = Moments(step.sums_at(place, 0), H, first_gate(a), kGates);
    if (a.statistics && blocks.begin == 0)
      statistics_at(a, step.scratch.steps, step.s, place)[0] = moments[r].scale;
  }
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const int64_t unit = block * kBlock;
    const CellForward cell(step, places.begin, block);
    const VariedCell varied(a, step.s, block);
    for (int64_t r = 0; r < places.size(); ++r) {
      const int64_t place = places.begin + r, row = cell.row_of(r);
      const float* z_x = a.z_x + (row * a.time + time_of(a, step.s)) * kGates * H + unit;
      alignas(64) float z[kTile];
      for (int64_t g = 0; g < kGates; ++g) {
        const Vector normed = moments[r](load(step.sums_at(place, block) + g * kBlock));
        const Vector gain = load_n(a.norm_gain + g * H + unit, H - unit);
        store(z + g * kBlock, mul_add(gain, normed, load_n(z_x + g * H, H - unit)));
        if (a.normed) store(a.normed + (cell.gates - a.gates) + r * kTile + g * kBlock, normed);
      }
      const Cell made = varied.forward(row, z, load(cell.running + r * cell.width));
      cell.keep(r, cell.skips(row), made);
      store(step.candidates_at(0, place, block), made.h);
      store(step.candidates_at(1, place, block), made.o);
    }
  }
}

// From c to h, or to what is projected.
inline void norm_cells(const ForwardStep& step, Range places, Range blocks) {
  const longshort_lstm& a = step.a;
  const int64_t H = a.units;
  for (int64_t place = places.begin; place < places.end; ++place) {
    const Moments moments(step.candidates_at(0, place, 0), H, 0, 1);
    if (a.statistics && blocks.begin == 0) {
      float* statistics = statistics_at(a, step.scratch.steps, step.s, place);
      statistics[1] = moments.mean;
      statistics[2] = moments.scale;
    }
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int64_t unit = block * kBlock;
      const Vector gain = load_n(a.norm_cell + unit, H - unit),
                   bias = load_n(a.norm_cell + H + unit, H - unit);
      const Vector c = mul_add(gain, moments(load(step.candidates_at(0, place, block))), bias);
      const Vector o = load(step.candidates_at(1, place, block));
      keep_out(step, place, block, VariedCell(a, step.s, block).out(o, c));
    }
  }
}

}  // namespace
