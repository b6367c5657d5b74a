// The projection h = m V, m = o A(c), and the gradient of m: products of their own within a step,
// since each value of h is a sum over all units.
#pragma once
#include "cell_forward.h"

namespace {

// Packs the column blocks of `blocks` that `mine` says, as for_blocks goes: (depth, count, kLanes),
// of which element (k, column) is matrix[k * stride + column * column_stride].
template <class Mine>
void pack_columns(const float* matrix, int64_t depth, int64_t columns, int64_t stride,
                  int64_t column_stride, Range blocks, float* out, Mine mine) {
  for_blocks(blocks, [&](int64_t block, auto width) {
    constexpr int64_t count = decltype(width)::count * kBlock;
    if (!mine()) return;
    float* panel = out + block * kBlock * depth;
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t n = 0; n < count; ++n) {
        const int64_t column = block * kBlock + n;
        *panel++ = column < columns ? matrix[k * stride + column * column_stride] : 0.0f;
      }
  });
}

template <int R, int N>
__attribute__((noinline)) void project_tile(const float* left, int64_t stride, int64_t depth,
                                            const float* packed, float* out) {
  Tile<R, N> tile;
  clear(tile);
  multiply(tile, left_at<R>(left, stride, 1), packed, depth);
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) store(out + (r * N + n) * kBlock, tile.sum[r][n]);
}

// Calls body(places, blocks, sums, floats from one place's sums to the next) for the product of rows
// of `left`, `stride` floats each by places, and packed columns.
template <class Body>
void project(const float* left, int64_t stride, int64_t depth, const float* packed, Range places,
             Range blocks, Body body) {
  for_blocks(blocks, [&](int64_t block, auto width) {
    constexpr int N = decltype(width)::count;
    for_rows(places, [&](int64_t place, auto height) {
      constexpr int R = decltype(height)::count;
      alignas(64) float sums[R * N * kBlock];
      project_tile<R, N>(left + place * stride, stride, depth, packed + block * kBlock * depth, sums);
      body(Range{place, place + R}, Range{block, block + N}, sums, N * kBlock);
    });
  });
}

// The new h of some places and blocks from the projected sums.
__attribute__((noinline)) inline void keep_projected(const ForwardStep& step, Range places,
                                                     Range blocks, const float* sums,
                                                     int64_t stride) {
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const StateForward state(step, places.begin, block);
    const Zoneout zoneout(step.a, step.noise, block);
    for (int64_t r = 0; r < places.size(); ++r) {
      const int64_t row = step.scratch.steps.row[places.begin + r];
      const Vector h = zoneout.state(Noise::kZoneoutH, row, load(state.previous + r * state.width),
                                     load(sums + r * stride + (block - blocks.begin) * kBlock));
      state.keep(r, row, masked(step.a, row, step.s), h);
    }
  }
}
inline void project_forward(const ForwardStep& step, Range places, Range blocks) {
  const longshort_lstm& a = step.a;
  project(step.scratch.outs, blocks_of(a.units) * kBlock, a.units, step.scratch.projection, places,
          blocks, [&](Range rows, Range columns, const float* sums, int64_t stride) {
            keep_projected(step, rows, columns, sums, stride);
          });
}

}  // namespace
