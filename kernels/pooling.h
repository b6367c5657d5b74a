// The largest value and the mean of each channel over the real steps of a row, and their gradients (pooling.cpp).
#pragma once
#include "isa.h"
#include "tile.h"

namespace {

using longshort::Pooling;

inline int64_t real_steps(const Pooling& a, int64_t b) {
  int64_t real = 0;
  for (int64_t t = 0; t < a.steps; ++t) real += a.mask[b * a.steps + t];
  return real;
}

// Calls body(column, Blocks<N>) for all columns.
template <class Body>
inline void for_columns(int64_t columns, Body body) {
  for_blocks(Range{0, blocks_of(columns)},
             [&](int64_t block, auto width) { body(block * kBlock, width); });
}

// Writes largest, ties (how many steps have it) and mean of row b; zeros where no step is real.
void pool_row(const Pooling& a, int64_t b) {
  const int64_t D = a.size;
  const int64_t real = real_steps(a, b);
  for_columns(D, [&](int64_t column, auto width) {
    constexpr int N = decltype(width)::count;
    Vector largest[N], ties[N], sum[N];
    for (int n = 0; n < N; ++n) {
      largest[n] = splat(real ? -__builtin_inff() : 0.0f);
      ties[n] = sum[n] = Vector{};
    }
    for (int64_t t = 0; t < a.steps; ++t) {
      if (!a.mask[b * a.steps + t]) continue;
      const float* x = a.x + (b * a.steps + t) * D + column;
      for (int n = 0; n < N; ++n) {
        const Vector here = load_n(x + n * kBlock, D - column - n * kBlock), one = splat(1.0f);
        ties[n] = here > largest[n] ? one : here == largest[n] ? ties[n] + one : ties[n];
        largest[n] = ((here > largest[n]) | (here != here)) ? here : largest[n];  // what is no number stays
        sum[n] = sum[n] + here;
      }
    }
    for (int n = 0; n < N; ++n) {
      const int64_t at = b * D + column + n * kBlock, left = D - column - n * kBlock;
      store_n(a.largest + at, largest[n], left);
      store_n(a.ties + at, ties[n], left);
      store_n(a.mean + at, sum[n] / splat(static_cast<float>(real ? real : 1)), left);
    }
  });
}

// Writes dx of row b: steps that share the largest value share its gradient.
void pool_row_gradient(const Pooling& a, int64_t b) {
  const int64_t D = a.size;
  const int64_t real = real_steps(a, b);
  for_columns(D, [&](int64_t column, auto width) {
    constexpr int N = decltype(width)::count;
    Vector largest[N], of_largest[N], of_mean[N];
    for (int n = 0; n < N; ++n) {
      const int64_t at = b * D + column + n * kBlock, left = D - column - n * kBlock;
      const Vector ties = load_n(a.ties + at, left), one = splat(1.0f);
      largest[n] = load_n(a.largest + at, left);
      of_largest[n] = load_n(a.dlargest + at, left) / (ties > one ? ties : one);
      of_mean[n] = load_n(a.dmean + at, left) / splat(static_cast<float>(real ? real : 1));
    }
    for (int64_t t = 0; t < a.steps; ++t) {
      const int64_t at = (b * a.steps + t) * D + column;
      for (int n = 0; n < N; ++n) {
        const int64_t left = D - column - n * kBlock;
        Vector dx = {};
        if (a.mask[b * a.steps + t])
          dx = of_mean[n] + (load_n(a.x + at + n * kBlock, left) == largest[n] ? of_largest[n] : Vector{});
        store_n(a.dx + at + n * kBlock, dx, left);
      }
    }
  });
}

}  // namespace
