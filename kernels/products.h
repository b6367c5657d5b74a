// Products of whole matrices in the tile, of floats or of bfloat16: packing of the right factor, its sums.
#pragma once
#include "bfloat16.h"
#include "pool.h"

namespace {

using longshort::Team;

// Floats, or bfloat16 where products round: depths, and room in floats.
inline int64_t padded(int64_t depth, const float*) { return depth; }
inline int64_t padded(int64_t depth, const Bfloat16*) { return pad_depth(depth); }
inline int64_t room(int64_t n, const float*) { return n; }
inline int64_t room(int64_t n, const Bfloat16*) { return halved(n); }

inline void write_row(const float* in, int64_t n, int64_t, float* out) {
  memcpy(out, in, n * sizeof(float));
}
inline void write_row(const float* in, int64_t n, int64_t depth, Bfloat16* out) {
  round_row(in, n, depth, out);
}
LONGSHORT_INLINE void write(float* out, Vector x) { store(out, x); }
LONGSHORT_INLINE void write(Bfloat16* out, Vector x) { store_bfloat16(out, x); }

// A thread's share of `columns`, in blocks: whole tiles.
inline Range own_tiles(int64_t columns, const Team& team) {
  const Range tiles = longshort::part(longshort::ceil_div(columns, 4 * kBlock), team.index, team.size);
  return Range{4 * tiles.begin, smaller(4 * tiles.end, blocks_of(columns))};
}

// out (rows, N kLanes) (+)= left (rows, depth) right, the right factor packed.
template <int N>
inline void product(const float* left, int64_t stride, const float* right, int64_t depth, float* out,
                    int64_t out_stride, bool add, int64_t rows) {
  for_rows(Range{0, rows}, [&](int64_t row, auto height) {
    constexpr int R = decltype(height)::count;
    float* to = out + row * out_stride;
    Tile<R, N> tile;
    clear(tile);
    for (int r = 0; add && r < R; ++r)
      for (int n = 0; n < N; ++n) tile.sum[r][n] = load(to + r * out_stride + n * kBlock);
    multiply(tile, left_at<R>(left + row * stride, stride, 1), right, depth);
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) store(to + r * out_stride + n * kBlock, tile.sum[r][n]);
  });
}
template <int N>
inline void product(const Bfloat16* left, int64_t stride, const Bfloat16* right, int64_t depth,
                    float* out, int64_t out_stride, bool add, int64_t rows) {
  for (int64_t row = 0; row < rows; row += kGroup) {
    const Product p{left + row * stride,      stride, right, N * kLanes * 2, depth,
                    out + row * out_stride, out_stride, add};
    multiply<N>(p, smaller(kGroup, rows - row));
  }
}

// Element (k, column) is at data[k * by_k + column * by_column]; one of the distances is 1.
struct Matrix {
  const float* data;
  int64_t depth, columns, by_k, by_column;
};

// `count` blocks of columns from `first` on as a right factor: (depth, count, kLanes), or in pairs.
inline void write_right(const float* even, const float* odd, int64_t count, float*& out) {
  const int64_t width = count * kBlock;
  memcpy(out, even, width * sizeof(float));
  if (odd) memcpy(out + width, odd, width * sizeof(float));
  out += odd ? 2 * width : width;
}
inline void write_right(const float* even, const float* odd, int64_t count, Bfloat16*& out) {
  for (int64_t n = 0; n < count; ++n, out += 2 * kLanes)
    store_pairs(out, load(even + n * kBlock), load(odd + n * kBlock));
}
template <class Number>
void pack_right(const Matrix& m, int64_t first, int64_t count, Number* out) {
  constexpr int64_t kSide = 16;  // by squares: each cache line of the weights is read once
  const int64_t depth = padded(m.depth, out), columns = smaller(count * kBlock, m.columns - first);
  for (int64_t k = 0; k < depth; k += kSide) {
    float square[kSide][4 * kBlock] = {};
    const int64_t real = smaller(kSide, m.depth - k), all = smaller(kSide, depth - k);
    const float* from = m.data + k * m.by_k + first * m.by_column;
    if (m.by_column == 1) {
      for (int64_t i = 0; i < real; ++i) memcpy(square[i], from + i * m.by_k, columns * sizeof(float));
    } else {
      for (int64_t c = 0; c < columns; ++c)
        for (int64_t i = 0; i < real; ++i) square[i][c] = from[c * m.by_column + i];
    }
    for (int64_t i = 0; i < all; i += 2)
      write_right(square[i], i + 1 < all ? square[i + 1] : nullptr, count, out);
  }
}

// The same of a gradient (rows, stride) that is rounded, or not, already.
inline void pack_gradient(const float* in, int64_t rows, int64_t stride, int64_t first, int64_t count,
                          float* out) {
  for (int64_t r = 0; r < rows; ++r, out += count * kBlock)
    memcpy(out, in + r * stride + first, count * kBlock * sizeof(float));
}
inline void pack_gradient(const Bfloat16* in, int64_t rows, int64_t stride, int64_t first,
                          int64_t count, Bfloat16* out) {
  const Bfloat16 none[4 * kBlock] = {};
  for (int64_t r = 0; r < pad_depth(rows); r += 2) {
    const Bfloat16* even = r < rows ? in + r * stride + first : none;
    const Bfloat16* odd = r + 1 < rows ? in + (r + 1) * stride + first : none;
    for (int64_t c = 0; c < count * kBlock; ++c, out += 2) {
      out[0] = even[c];
      out[1] = odd[c];
    }
  }
}

}  // namespace
