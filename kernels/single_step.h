// One step of a stream: weights packed beforehand, state carried by the caller.
#pragma once
#include "tile.h"

namespace {

// Packed: weights (P, D + H, 4, kLanes), bias (P, 4, kLanes), the next h (B, H).
inline int64_t step_size(const longshort_step& a) {
  const int64_t P = blocks_of(a.units);
  return P * (a.features + a.units + 1) * kTile + longshort::cache_lines(a.batch * a.units);
}

inline void pack_step(const longshort_step& a) {
  const int64_t D = a.features, H = a.units, P = blocks_of(H);
  float* bias = a.packed + P * (D + H) * kTile;
  for (int64_t block = 0; block < P; ++block) {
    float* panel = a.packed + block * (D + H) * kTile;
    pack_gates(a.kernel, D, H, block, panel);
    pack_gates(a.recurrent, H, H, block, panel + D * kTile);
    if (a.bias) {
      pack_gates(a.bias, 1, H, block, bias + block * kTile);
    } else {
      memset(bias + block * kTile, 0, kTile * sizeof(float));
    }
  }
}

inline void run_step(const longshort_step& a) {
  const int64_t D = a.features, H = a.units, P = blocks_of(H);
  const float* all_bias = a.packed + P * (D + H) * kTile;
  float* next = a.packed + P * (D + H + 1) * kTile;
  for (int64_t block = 0; block < P; ++block) {
    const float* weights = a.packed + block * (D + H) * kTile;
    const float* bias = all_bias + block * kTile;
    const int64_t unit = block * kBlock, width = H - unit;
    for_rows(Range{0, a.batch}, [&](int64_t row, auto height) {
      constexpr int R = decltype(height)::count;
      Tile<R, 4> z;
      for (int r = 0; r < R; ++r)
        for (int g = 0; g < 4; ++g) z.sum[r][g] = load(bias + g * kBlock);
      multiply(z, left_at<R>(a.x + row * D, D, 1), weights, D);
      multiply(z, left_at<R>(a.h + row * H, H, 1), weights + D * kTile, H);
      for (int r = 0; r < R; ++r) {
        float* cell = a.c + (row + r) * H + unit;
        const Cell made = make_cell(z.sum[r], load_n(cell, width));
        store_n(cell, made.c, width);
        store_n(next + (row + r) * H + unit, made.h, width);
      }
    });
  }
  memcpy(a.h, next, a.batch * H * sizeof(float));
}

}  // namespace
