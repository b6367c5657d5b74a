// A dense layer over many rows and its gradients.
//
//   y = b + x W    dx = dy W'    dW = x' dy    db = sum of dy
//
// Rows whose gradient is zero, which is what padding has, are left out of the gradients.
#pragma once
#include "isa.h"
#include "products.h"

namespace {

using longshort::Dense;

// Rows that are summed at a time: what is packed of them stays in a core's own cache.
constexpr int64_t kSomeRows = 512;

inline Pieces dense_pieces(const Dense& a) {
  return Pieces::where_worth(a.count >= 64 && a.features >= 32 && a.units >= 32);
}

// Of products of rows: y, or dx.
template <class Number>
struct RowsScratch {
  static constexpr const Number* kKind = nullptr;
  Number* weights;  // packed, for each tile of columns
  Number* left;     // a thread's rows, (kNearRows, depth)
  float* out;       // a thread's, (kNearRows, columns padded)
  int64_t size;

  RowsScratch(int64_t depth, int64_t columns, Pieces pieces, int thread, float* data) {
    const int64_t room = room_of(depth, kKind, pieces), width = blocks_of(columns) * kBlock;
    Taker taker{data, 0};
    const auto take = [&](int64_t n) { return reinterpret_cast<Number*>(taker.take(floats_of(n, kKind))); };
    weights = take(width * room);
    for (int i = 0; i <= thread; ++i) {
      left = take(kNearRows * room);
      out = taker.take(kNearRows * width);
    }
    size = taker.used;
  }
};

// Rows `row(i)`, for i below count, of out = bias + in right; each thread has rows of its own.
template <class Number, class RowAt>
void dense_rows(const float* in, int64_t count, RowAt row, const Matrix& right, const float* bias, float* out,
                Pieces pieces, float* scratch, const Team& team) {
  const int64_t depth = right.depth, columns = right.columns, width = blocks_of(columns) * kBlock;
  const RowsScratch<Number> s(depth, columns, pieces, team.index, scratch);
  const int64_t room = room_of(depth, s.kKind, pieces);
  for_blocks(own_tiles(columns, team), [&](int64_t block, auto some) {
    pack_right(right, block * kBlock, decltype(some)::count, s.weights + block * kBlock * room, pieces);
  });
  team.wait();
  const Range own = longshort::part(count, team.index, team.size);
  for (int64_t first = own.begin; first < own.end; first += kNearRows) {
    const int64_t rows = smaller(kNearRows, own.end - first);
    for (int64_t r = 0; r < rows; ++r)
      write_row(in + row(first + r) * depth, depth, s.left, r, rows, pieces);
    for_blocks(Range{0, blocks_of(columns)}, [&](int64_t block, auto some) {
      product<decltype(some)::count>(left_rows(s.left, rows, depth), s.weights + block * kBlock * room, depth,
                                     s.out + block * kBlock, width, false, rows, pieces);
    });
    for (int64_t r = 0; r < rows; ++r) {
      float* to = out + row(first + r) * columns;
      const float* from = s.out + r * width;
      if (!bias) {
        memcpy(to, from, columns * sizeof(float));
        continue;
      }
      for (int64_t n = 0; n < columns; n += kBlock)
        store_n(to + n, load(from + n) + load_n(bias + n, columns - n), columns - n);
    }
  }
}

// Of dW: a thread's.
template <class Number>
struct SumsScratch {
  static constexpr const Number* kKind = nullptr;
  Number* left;   // x' of some rows and a row of ones, (D + 1, kSomeRows)
  Number* panel;  // their dy, of a tile of columns
  float* sums;    // for each tile of columns (D + 1, its columns)
  int64_t size;

  SumsScratch(const Dense& a, Pieces pieces, int threads, int thread, float* data) {
    const int64_t room = room_of(smaller(kSomeRows, a.count), kKind, pieces);
    const int64_t values = longshort::ceil_div(a.features + 1, threads);
    Taker taker{data, 0};
    const auto take = [&](int64_t n) { return reinterpret_cast<Number*>(taker.take(floats_of(n, kKind))); };
    for (int i = 0; i <= thread; ++i) {
      left = take(values * room);
      panel = take(4 * kBlock * room);
      sums = taker.take(values * blocks_of(a.units) * kBlock);
    }
    size = taker.used;
  }
};

// Writes dW and db; each thread has rows of them of its own, db behind the last one.
template <class Number>
void dense_sums(const Dense& a, Pieces pieces, float* scratch, const Team& team) {
  const SumsScratch<Number> s(a, pieces, team.size, team.index, scratch);
  const int64_t D = a.features, C = a.units;
  const Range own = longshort::part(D + 1, team.index, team.size);
  const auto tile_of = [&](int64_t block) { return s.sums + block * kBlock * own.size(); };
  if (a.count == 0) memset(s.sums, 0, blocks_of(C) * kBlock * own.size() * sizeof(float));
  for (int64_t first = 0; first < a.count; first += kSomeRows) {
    const int64_t count = smaller(kSomeRows, a.count - first);
    const auto row_of = [&](const float* array, int64_t width) {
      return [=, &a](int64_t r) { return array + a.real[first + r] * width; };
    };
    write_turned(row_of(a.x, D), D, own, own.begin, own.size(), count, s.left, pieces);
    for_blocks(Range{0, blocks_of(C)}, [&](int64_t block, auto some) {
      constexpr int N = decltype(some)::count;
      pack_rows(row_of(a.dy, C), count, C, block * kBlock, N, s.panel, pieces);
      product<N>(left_rows(s.left, own.size(), count), s.panel, count, tile_of(block), N * kBlock, first > 0,
                 own.size(), pieces);
    });
  }
  for_blocks(Range{0, blocks_of(C)}, [&](int64_t block, auto some) {
    constexpr int N = decltype(some)::count;
    const int64_t column = block * kBlock, columns = smaller(N * kBlock, C - column);
    for (int64_t m = own.begin; m < own.end; ++m) {
      float* to = m < D ? a.dweights + m * C : a.dbias;
      memcpy(to + column, tile_of(block) + (m - own.begin) * N * kBlock, columns * sizeof(float));
    }
  });
}

// The matrix that rows meet in a call: W for y, its columns for dx.
inline Matrix dense_matrix(const Dense& a) {
  if (a.y) return Matrix{a.weights, a.features, a.units, a.units, 1};
  return Matrix{a.weights, a.units, a.features, 1, a.units};
}

// Calls body(a number of the products' kind).
template <class Body>
void in_kind(Pieces pieces, Body body) {
  if (pieces.count) {
    body(Bfloat16{});
  } else {
    body(float{});
  }
}

// Writes y, or where that is null dx of the rows that are real.
void dense(const Dense& a, float* scratch, const Team& team) {
  const Pieces pieces = dense_pieces(a);
  in_kind(pieces, [&](auto kind) {
    using Number = decltype(kind);
    if (a.y) {
      const auto same = [](int64_t r) { return r; };
      dense_rows<Number>(a.x, a.count, same, dense_matrix(a), a.bias, a.y, pieces, scratch, team);
    } else {
      const auto real = [&](int64_t r) { return a.real[r]; };
      dense_rows<Number>(a.dy, a.count, real, dense_matrix(a), nullptr, a.dx, pieces, scratch, team);
    }
  });
  end_products();
}
int64_t dense_scratch(const Dense& a, int threads) {
  int64_t size = 0;
  const Pieces pieces = dense_pieces(a);
  const Matrix m = dense_matrix(a);
  in_kind(pieces, [&](auto kind) {
    size = RowsScratch<decltype(kind)>(m.depth, m.columns, pieces, threads - 1, nullptr).size;
  });
  return size;
}
void dense_weights(const Dense& a, float* scratch, const Team& team) {
  const Pieces pieces = dense_pieces(a);
  in_kind(pieces, [&](auto kind) { dense_sums<decltype(kind)>(a, pieces, scratch, team); });
  end_products();
}
int64_t dense_weights_scratch(const Dense& a, int threads) {
  int64_t size = 0;
  const Pieces pieces = dense_pieces(a);
  in_kind(pieces, [&](auto kind) {
    size = SumsScratch<decltype(kind)>(a, pieces, threads, threads - 1, nullptr).size;
  });
  return size;
}

}  // namespace
