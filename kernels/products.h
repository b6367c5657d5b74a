// Products of whole matrices in the tile, of floats or of bfloat16s: packing of the right factor, its sums.
#pragma once
#include "bfloat16.h"
#include "pool.h"

namespace {

using longshort::Team;

// Floats, or bfloat16s: how many of them a row of so much depth takes, and floats that hold n of them.
inline int64_t room_of(int64_t depth, const float*, Pieces) { return depth; }
inline int64_t room_of(int64_t depth, const Bfloat16*, Pieces pieces) { return pieces.room(depth); }
inline int64_t floats_of(int64_t n, const float*) { return n; }
inline int64_t floats_of(int64_t n, const Bfloat16*) { return halved(n); }

// n values, from k on and at most kLanes, of row r of a left factor of `rows` rows; of bfloat16s with zeros up to
// kLanes, where n may be below 0.
inline void write_left(const float* in, int64_t n, int64_t k, float* out, int64_t r, int64_t, int64_t depth,
                       Pieces) {
  memcpy(out + r * depth + k, in, n * sizeof(float));
}
inline void write_left(const float* in, int64_t n, int64_t k, Bfloat16* out, int64_t r, int64_t rows, int64_t,
                       Pieces pieces) {
  const int64_t step = rows * kChunk;
  store_pieces(out + r * kChunk + pieces.in_row(k, step), load_n(in, n), pieces, step);
}

// A depth with the zeros that a factor of these numbers has behind it.
template <class Number>
inline int64_t padded(int64_t depth, const Number*) {
  return sizeof(Number) < sizeof(float) ? whole_chunks(depth) : depth;
}

// Row r of a left factor of `rows` rows.
template <class Number>
inline void write_row(const float* in, int64_t depth, Number* out, int64_t r, int64_t rows, Pieces pieces) {
  const int64_t room = room_of(depth, out, pieces), end = padded(depth, out);
  for (int64_t k = 0; k < end; k += kLanes)
    write_left(in + k, smaller(kLanes, depth - k), k, out, r, rows, room, pieces);
}

// `count` rows of an array, the k-th at row(k), turned: a left factor that sums over them, of which `values` are
// written, value v as row v - first of `rows`. A value behind the `width` that rows have is 1.
template <class Number, class RowAt>
void write_turned(RowAt row, int64_t width, Range values, int64_t first, int64_t rows, int64_t count, Number* out,
                  Pieces pieces) {
  const int64_t room = room_of(count, out, pieces), end = padded(count, out);
  for (int64_t v = values.begin; v < values.end; v += kLanes) {
    for (int64_t k = 0; k < end; k += kLanes) {
      Vector square[kLanes];
      for (int64_t i = 0; i < kLanes; ++i)
        square[i] = k + i < count ? load_n(row(k + i) + v, width - v) : Vector{};
      turn(square);
      for (int64_t i = 0; i < smaller(kLanes, values.end - v); ++i) {
        float line[kLanes];
        store(line, v + i < width ? square[i] : splat(1.0f));
        write_left(line, smaller(kLanes, count - k), k, out, v + i - first, rows, room, pieces);
      }
    }
  }
}

// Calls body(blocks, rows) over ranges of both, four tiles of columns and some rows at a time: what the tiles
// need then stays in a core's own cache, and the rows come from farther away once for all of them.
constexpr int64_t kNearBlocks = 16, kNearRows = 96;
template <class Begin, class Body>
inline void for_near(Range blocks, int64_t rows, Begin begin, Body body) {
  for (int64_t b = blocks.begin; b < blocks.end; b += kNearBlocks) {
    const Range some{b, smaller(b + kNearBlocks, blocks.end)};
    begin(some);
    for (int64_t r = 0; r < rows; r += kNearRows) body(some, Range{r, smaller(r + kNearRows, rows)});
  }
}

// A thread's share of `columns`, in blocks: whole tiles.
inline Range own_tiles(int64_t columns, const Team& team) {
  const Range tiles = longshort::part(longshort::ceil_div(columns, 4 * kBlock), team.index, team.size);
  return Range{4 * tiles.begin, smaller(4 * tiles.end, blocks_of(columns))};
}

// A left factor: of floats its rows, `stride` floats each; of bfloat16s also what its chunks are apart.
template <class Number>
struct LeftRows {
  const Number* data;
  int64_t stride, step;
  LeftRows from(int64_t row) const { return {data + row * stride, stride, step}; }
};

inline LeftRows<float> left_rows(const float* data, int64_t, int64_t depth) { return {data, depth, 0}; }
inline LeftRows<Bfloat16> left_rows(const Bfloat16* data, int64_t rows, int64_t) {
  return {data, kChunk, rows * kChunk};
}

// out (rows, N kLanes) (+)= left (rows, depth) right, the right factor packed.
template <int N>
inline void product(LeftRows<float> left, const float* right, int64_t depth, float* out, int64_t out_stride,
                    bool add, int64_t rows, Pieces) {
  for_rows(Range{0, rows}, [&](int64_t row, auto height) {
    constexpr int R = decltype(height)::count;
    float* to = out + row * out_stride;
    Tile<R, N> tile;
    clear(tile);
    for (int r = 0; add && r < R; ++r)
      for (int n = 0; n < N; ++n) tile.sum[r][n] = load(to + r * out_stride + n * kBlock);
    multiply(tile, left_at<R>(left.data + row * left.stride, left.stride, 1), right, depth);
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) store(to + r * out_stride + n * kBlock, tile.sum[r][n]);
  });
}
template <int N>
inline void product(LeftRows<Bfloat16> left, const Bfloat16* right, int64_t depth, float* out,
                    int64_t out_stride, bool add, int64_t rows, Pieces pieces) {
  for (int64_t row = 0; row < rows; row += kGroup) {
    const Product p{pieces, pieces.chunks(depth), left.data + row * left.stride, left.stride, left.step, right,
                    N * kRightTile, out + row * out_stride, out_stride, add};
    multiply<N>(p, smaller(kGroup, rows - row));
  }
}

// Element (k, column) is at data[k * by_k + column * by_column]; one of the distances is 1.
struct Matrix {
  const float* data;
  int64_t depth, columns, by_k, by_column;
};

// Rows k and k + 1 of `count` blocks of columns of a right factor: (depth, count, kLanes), or of bfloat16s.
inline void write_right(const float* even, const float* odd, int64_t count, int64_t k, float* out, Pieces) {
  const int64_t width = count * kBlock;
  memcpy(out + k * width, even, width * sizeof(float));
  if (odd) memcpy(out + (k + 1) * width, odd, width * sizeof(float));
}
inline void write_right(const float* even, const float* odd, int64_t count, int64_t k, Bfloat16* out,
                        Pieces pieces) {
  const int64_t step = count * kRightTile;
  out += pieces.in_column(k, step);
  for (int64_t n = 0; n < count; ++n)
    store_pairs(out + n * kRightTile, load(even + n * kBlock), load(odd + n * kBlock), pieces, step);
}
template <class Number>
void pack_right(const Matrix& m, int64_t first, int64_t count, Number* out, Pieces pieces) {
  constexpr int64_t kSide = kChunk;  // by squares: each cache line of the weights is read once
  const int64_t columns = smaller(count * kBlock, m.columns - first);
  for (int64_t k = 0; k < m.depth; k += kSide) {
    float square[kSide][4 * kBlock];
    const int64_t real = smaller(kSide, m.depth - k);
    if (real < kSide || columns < count * kBlock) memset(square, 0, sizeof square);
    const int64_t all = sizeof(Number) < sizeof(float) ? kSide : real;
    const float* from = m.data + k * m.by_k + first * m.by_column;
    if (m.by_column == 1) {
      for (int64_t i = 0; i < real; ++i) memcpy(square[i], from + i * m.by_k, columns * sizeof(float));
    } else {
      for (int64_t c = 0; c < columns; c += kLanes)
        for (int64_t i = 0; i < real; i += kLanes)
          turn_part(from + c * m.by_column + i, m.by_column, smaller(kLanes, columns - c), real - i,
                    &square[i][c], 4 * kBlock);
    }
    for (int64_t i = 0; i < all; i += 2)
      write_right(square[i], i + 1 < all ? square[i + 1] : nullptr, count, k + i, out, pieces);
  }
}

// The same of `depth` rows of an array of `width` columns, the k-th at row(k).
template <class Number, class RowAt>
void pack_rows(RowAt row, int64_t depth, int64_t width, int64_t first, int64_t count, Number* out,
               Pieces pieces) {
  const int64_t end = padded(depth, out), columns = smaller(count * kBlock, width - first);
  float spare[2][4 * kBlock];
  const auto at = [&](int64_t k, float* line) {
    if (k < depth && columns == count * kBlock) return row(k) + first;
    memset(line, 0, sizeof spare[0]);
    if (k < depth) memcpy(line, row(k) + first, columns * sizeof(float));
    return static_cast<const float*>(line);
  };
  for (int64_t k = 0; k < end; k += 2)
    write_right(at(k, spare[0]), k + 1 < end ? at(k + 1, spare[1]) : nullptr, count, k, out, pieces);
}

// The same of a gradient (rows, stride) that is a left factor already.
inline void pack_gradient(const float* in, int64_t rows, int64_t stride, int64_t first, int64_t count,
                          float* out, Pieces) {
  for (int64_t r = 0; r < rows; ++r, out += count * kBlock)
    memcpy(out, in + r * stride + first, count * kBlock * sizeof(float));
}
inline void pack_gradient(const Bfloat16* in, int64_t rows, int64_t stride, int64_t first,
                          int64_t count, Bfloat16* out, Pieces pieces) {
  const Bfloat16 none[kLanes] = {};
  const int64_t step = count * kRightTile;
  const auto widen = [](const Bfloat16* p) {
    typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
    Halves halves;
    memcpy(&halves, p, sizeof halves);
    return __builtin_convertvector(halves, Bits);
  };
  for (int64_t r = 0; r < whole_chunks(rows); r += 2) {
    for (int64_t n = 0; n < count; ++n) {
      Bfloat16* to = out + pieces.in_column(r, step) + n * kRightTile;
      const int64_t column = pieces.in_row(first + n * kBlock, kChunk);
      for (int64_t i = 0; i < pieces.count; ++i, to += step) {
        const int64_t at = r * stride + column + i * kChunk;
        const Bits even = widen(r < rows ? in + at : none);
        const Bits odd = widen(r + 1 < rows ? in + at + stride : none);
        store(reinterpret_cast<float*>(to), reinterpret_cast<Vector>(even | (odd << 16)));
      }
    }
  }
}

// Element (r, k) of a left factor of floats, as it lies: data[r * by_row + k * by_k].
struct Factor {
  const float* data;
  int64_t by_row, by_k;
};
// out (rows, columns) = left right, of any size; `packed` has room for four blocks of the right factor's columns.
inline void product_of_any(const Factor& left, int64_t rows, const Matrix& right, float* packed, float* out,
                           int64_t out_stride) {
  for_blocks(Range{0, blocks_of(right.columns)}, [&](int64_t block, auto width) {
    constexpr int N = decltype(width)::count;
    const int64_t column = block * kBlock;
    pack_right(right, column, N, packed, Pieces());
    for_rows(Range{0, rows}, [&](int64_t row, auto height) {
      constexpr int R = decltype(height)::count;
      Tile<R, N> tile;
      clear(tile);
      multiply(tile, left_at<R>(left.data + row * left.by_row, left.by_row, left.by_k), packed, right.depth);
      for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n)
          store_n(out + (row + r) * out_stride + column + n * kBlock, tile.sum[r][n],
                  right.columns - column - n * kBlock);
    });
  });
}

}  // namespace
