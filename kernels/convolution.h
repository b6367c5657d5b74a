// A convolution over time and its gradients: products whose left factor is the windows of x.
//
//   y_t = b + x_t W    dW = sum over t of x_t' dy_t    db = sum of dy_t    dx_t = dy_t W', added where windows meet
//
// with x_t the window of y_t, (width, D) as one row. Steps at the end of a row of the batch whose gradient is
// zero, which is what padding has behind a masked layer, are left out of the gradients.
#pragma once
#include "isa.h"
#include "products.h"

namespace {

using longshort::Convolution;

constexpr int64_t kWindows = 48;  // at a time: they stay in a core's own cache

// The frames of window t that lie within x, as places in the window.
inline Range inside(const Convolution& a, int64_t t) {
  const int64_t first = t * a.stride - a.left;
  const int64_t begin = first < 0 ? smaller(-first, a.width) : 0, end = smaller(a.width, a.time - first);
  return Range{begin, end > begin ? end : begin};
}
// The steps, of `steps`, whose windows have their place j within x.
inline Range steps_with(const Convolution& a, int64_t j, int64_t steps) {
  const int64_t first = a.left > j ? longshort::ceil_div(a.left - j, a.stride) : 0;
  const int64_t end = a.time + a.left > j ? longshort::ceil_div(a.time + a.left - j, a.stride) : 0;
  return Range{first, smaller(end, steps)};
}
// Steps of row b up to the last one whose gradient is not zero.
inline int64_t steps_of(const Convolution& a, int64_t b) {
  const float* dy = a.dy + b * a.steps * a.channels;
  int64_t n = a.steps * a.channels;
  while (n > 0 && dy[n - 1] == 0) --n;
  return longshort::ceil_div(n, a.channels);
}

struct ConvolutionScratch {
  float* weights;  // packed for the product
  float* bias;     // (C, padded)
  float* sums;     // of dW and of db: (width D + 1, C, padded)
  float* rows;     // a thread's windows, or their gradients, (kWindows, width D, padded)
  float* panel;    // a thread's dy of a tile of columns, (T', up to four blocks)
  int64_t size;

  ConvolutionScratch(const Convolution& a, int thread, float* data) {
    const int64_t depth = blocks_of(a.depth()) * kBlock, columns = blocks_of(a.channels) * kBlock;
    Taker taker{data, 0};
    weights = taker.take(depth * columns);
    bias = taker.take(columns);
    sums = taker.take((a.depth() + 1) * columns);
    for (int i = 0; i <= thread; ++i) {
      rows = taker.take(kWindows * depth);
      panel = taker.take(a.steps * 4 * kBlock);
    }
    size = taker.used;
  }
};
inline int64_t convolution_scratch(const Convolution& a, int threads) {
  return ConvolutionScratch(a, threads - 1, nullptr).size;
}

// Window t of row b as a row, zeros outside of x.
inline void copy_window(const Convolution& a, int64_t b, int64_t t, float* out) {
  const int64_t D = a.features;
  const Range frames = inside(a, t);
  const float* x = a.x + (b * a.time + t * a.stride - a.left + frames.begin) * D;
  memset(out, 0, frames.begin * D * sizeof(float));
  memcpy(out + frames.begin * D, x, frames.size() * D * sizeof(float));
  memset(out + frames.end * D, 0, (a.width - frames.end) * D * sizeof(float));
}

// Writes y.
void convolution(const Convolution& a, float* scratch, const Team& team) {
  const ConvolutionScratch s(a, team.index, scratch);
  const int64_t C = a.channels, depth = a.depth();
  for_blocks(own_tiles(C, team), [&](int64_t block, auto width) {
    constexpr int N = decltype(width)::count;
    pack_right(Matrix{a.kernel, depth, C, C, 1}, block * kBlock, N, s.weights + block * kBlock * depth, Pieces());
    for (int64_t n = block; n < block + N; ++n)
      store(s.bias + n * kBlock, load_n(a.bias + n * kBlock, C - n * kBlock));
  });
  team.wait();
  const Range own = longshort::part(a.batch * a.steps, team.index, team.size);
  for (int64_t first = own.begin; first < own.end; first += kWindows) {
    const Range windows{0, smaller(kWindows, own.end - first)};
    for (int64_t i = 0; i < windows.end; ++i)
      copy_window(a, (first + i) / a.steps, (first + i) % a.steps, s.rows + i * depth);
    for_blocks(Range{0, blocks_of(C)}, [&](int64_t block, auto width) {
      constexpr int N = decltype(width)::count;
      const int64_t column = block * kBlock;
      for_rows(windows, [&](int64_t i, auto height) {
        constexpr int R = decltype(height)::count;
        Tile<R, N> tile;
        for (int n = 0; n < N; ++n)
          for (int r = 0; r < R; ++r) tile.sum[r][n] = load(s.bias + column + n * kBlock);
        multiply(tile, left_at<R>(s.rows + i * depth, depth, 1), s.weights + column * depth, depth);
        for (int r = 0; r < R; ++r) {
          float* y = a.y + (first + i + r) * C + column;
          for (int n = 0; n < N; ++n) store_n(y + n * kBlock, tile.sum[r][n], C - column - n * kBlock);
        }
      });
    });
  }
}

// sums (width D, C) += windows' dy of row b, for rows `own` of it; the tile's left factor is x as it lies.
template <int N>
void add_windows(const Convolution& a, int64_t b, int64_t steps, Range own, const float* right,
                 float* sums, int64_t columns) {
  const int64_t D = a.features, step = a.stride * D;
  for (int64_t j = own.begin / D; j * D < own.end; ++j) {
    const Range rows{own.begin > j * D ? own.begin : j * D, smaller(own.end, (j + 1) * D)};
    const Range times = steps_with(a, j, steps);
    if (times.end <= times.begin) continue;
    const float* x = a.x + (b * a.time + times.begin * a.stride - a.left) * D;
    for_rows(rows, [&](int64_t m, auto height) {
      constexpr int R = decltype(height)::count;
      float* out = sums + m * columns;
      Tile<R, N> tile;
      for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) tile.sum[r][n] = load(out + r * columns + n * kBlock);
      multiply(tile, left_at<R>(x + m, 1, step), right + times.begin * N * kBlock, times.size());
      for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) store(out + r * columns + n * kBlock, tile.sum[r][n]);
    });
  }
}

// Writes dkernel and dbias; each thread has rows of the kernel of its own.
void convolution_weights(const Convolution& a, float* scratch, const Team& team) {
  const ConvolutionScratch s(a, team.index, scratch);
  const int64_t C = a.channels, columns = blocks_of(C) * kBlock;
  const Range own = longshort::part(a.depth(), team.index, team.size);
  const bool last = team.index + 1 == team.size;  // has the bias too
  float* bias = s.sums + a.depth() * columns;
  memset(s.sums + own.begin * columns, 0, (own.size() + last) * columns * sizeof(float));
  for (int64_t b = 0; b < a.batch; ++b) {
    const int64_t steps = steps_of(a, b);
    const float* dy = a.dy + b * a.steps * C;
    for_blocks(Range{0, blocks_of(C)}, [&](int64_t block, auto width) {
      constexpr int N = decltype(width)::count;
      const int64_t column = block * kBlock;
      const float* right = dy;
      if (C != N * kBlock) {
        for (int64_t i = 0; i < steps * N; ++i) {
          const int64_t at = column + i % N * kBlock;
          store(s.panel + i * kBlock, load_n(dy + i / N * C + at, C - at));
        }
        right = s.panel;
      }
      add_windows<N>(a, b, steps, own, right, s.sums + column, columns);
      if (!last) return;
      Vector sums[N];
      for (int n = 0; n < N; ++n) sums[n] = load(bias + column + n * kBlock);
      for (int64_t i = 0; i < steps; ++i)
        for (int n = 0; n < N; ++n) sums[n] = sums[n] + load(right + (i * N + n) * kBlock);
      for (int n = 0; n < N; ++n) store(bias + column + n * kBlock, sums[n]);
    });
  }
  for (int64_t m = own.begin; m < own.end; ++m)
    memcpy(a.dkernel + m * C, s.sums + m * columns, C * sizeof(float));
  if (last) memcpy(a.dbias, bias, C * sizeof(float));
}

// Writes dx; each thread has rows of the batch of its own.
void convolution_input(const Convolution& a, float* scratch, const Team& team) {
  const ConvolutionScratch s(a, team.index, scratch);
  const int64_t C = a.channels, D = a.features, depth = a.depth(), columns = blocks_of(depth) * kBlock;
  for_blocks(own_tiles(depth, team), [&](int64_t block, auto width) {
    pack_right(Matrix{a.kernel, C, depth, 1, C}, block * kBlock, decltype(width)::count,
               s.weights + block * kBlock * C, Pieces());
  });
  team.wait();
  for (int64_t b = team.index; b < a.batch; b += team.size) {
    memset(a.dx + b * a.time * D, 0, a.time * D * sizeof(float));
    const int64_t steps = steps_of(a, b);
    for (int64_t first = 0; first < steps; first += kWindows) {
      const int64_t count = smaller(kWindows, steps - first);
      for_blocks(Range{0, blocks_of(depth)}, [&](int64_t block, auto width) {
        const auto left = left_rows(a.dy + (b * a.steps + first) * C, count, C);
        product<decltype(width)::count>(left, s.weights + block * kBlock * C, C, s.rows + block * kBlock, columns,
                                        false, count, Pieces());
      });
      for (int64_t i = 0; i < count; ++i) {
        const Range frames = inside(a, first + i);
        float* dx = a.dx + (b * a.time + (first + i) * a.stride - a.left + frames.begin) * D;
        const float* window = s.rows + i * columns + frames.begin * D;
        const int64_t n = frames.size() * D;
        for (int64_t d = 0; d < n; d += kBlock)
          store_n(dx + d, load_n(dx + d, n - d) + load_n(window + d, n - d), n - d);
      }
    }
  }
}

}  // namespace
