// A dense layer over many rows and its gradients.
//
//   y = f(b + [x more] W)    dz = dy f'    [dx dmore] = dz W'    dW = [x more]' dz    db = sum of dz
//
// Rows whose gradient is zero, which is what padding has, are left out of the gradients.
#pragma once
#include "activations.h"
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
  float* line;      // one of them, in whole vectors
  float* out;       // a thread's, (kNearRows, columns padded)
  int64_t size;

  RowsScratch(int64_t depth, int64_t columns, Pieces pieces, int thread, float* data) {
    const int64_t room = room_of(depth, kKind, pieces), width = blocks_of(columns) * kBlock;
    Taker taker{data, 0};
    const auto take = [&](int64_t n) { return reinterpret_cast<Number*>(taker.take(floats_of(n, kKind))); };
    weights = take(width * room);
    for (int i = 0; i <= thread; ++i) {
      left = take(kNearRows * room);
      line = taker.take(blocks_of(depth) * kBlock);
      out = taker.take(kNearRows * width);
    }
    size = taker.used;
  }
};

// Row r of [x more]; `line` has room for it.
inline const float* joined_row(const Dense& a, int64_t r, float* line) {
  const int64_t M = a.more_features, D = a.features - M;
  if (M == 0) return a.x + r * D;
  memcpy(line, a.x + r * D, D * sizeof(float));
  memcpy(line + D, a.more + r * M, M * sizeof(float));
  return line;
}
// n values of row r of dz, from column `first` on; `line` has room for them, in whole vectors.
inline const float* sloped_row(const Dense& a, int64_t r, int64_t first, int64_t n, float* line) {
  const float* dy = a.dy + r * a.units + first;
  if (!a.made) return dy;
  const float* y = a.made + r * a.units + first;
  for (int64_t c = 0; c < n; c += kLanes)
    store(line + c, load_n(dy + c, n - c) * activation_slope(a.activation, load_n(y + c, n - c)));
  return line;
}

// Rows of a product: read(i, line) is the i-th of `count`, and write(i, sums) gets what it makes; each thread has
// rows of its own.
template <class Number, class Read, class Write>
void dense_rows(int64_t count, Read read, Write write, const Matrix& right, Pieces pieces, float* scratch,
                const Team& team) {
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
    for (int64_t r = 0; r < rows; ++r) write_row(read(first + r, s.line), depth, s.left, r, rows, pieces);
    for_blocks(Range{0, blocks_of(columns)}, [&](int64_t block, auto some) {
      product<decltype(some)::count>(left_rows(s.left, rows, depth), s.weights + block * kBlock * room, depth,
                                     s.out + block * kBlock, width, false, rows, pieces);
    });
    for (int64_t r = 0; r < rows; ++r) write(first + r, s.out + r * width);
  }
}

// Writes y.
template <class Number>
void dense_output(const Dense& a, Pieces pieces, float* scratch, const Team& team) {
  const int64_t C = a.units;
  const auto write = [&](int64_t r, const float* sums) {
    float* y = a.y + r * C;
    for (int64_t n = 0; n < C; n += kBlock) {
      const Vector bias = a.bias ? load_n(a.bias + n, C - n) : Vector{};
      store_n(y + n, activate(a.activation, load(sums + n) + bias), C - n);
    }
  };
  dense_rows<Number>(
      a.count, [&](int64_t r, float* line) { return joined_row(a, r, line); }, write,
      Matrix{a.weights, a.features, C, C, 1}, pieces, scratch, team);
}
// Writes dx and dmore of the rows that are real.
template <class Number>
void dense_input(const Dense& a, Pieces pieces, float* scratch, const Team& team) {
  const int64_t C = a.units, M = a.more_features, D = a.features - M;
  const auto write = [&](int64_t i, const float* sums) {
    memcpy(a.dx + a.real[i] * D, sums, D * sizeof(float));
    if (M) memcpy(a.dmore + a.real[i] * M, sums + D, M * sizeof(float));
  };
  dense_rows<Number>(
      a.count, [&](int64_t i, float* line) { return sloped_row(a, a.real[i], 0, C, line); }, write,
      Matrix{a.weights, C, a.features, 1, C}, pieces, scratch, team);
}

// Of dW: a thread's.
template <class Number>
struct SumsScratch {
  static constexpr const Number* kKind = nullptr;
  Number* left;   // [x more]' of some rows and a row of ones, (D + 1, kSomeRows)
  float* slopes;  // their dz, of a tile of columns
  Number* panel;  // the same as a right factor
  float* sums;    // for each tile of columns (D + 1, its columns)
  int64_t size;

  SumsScratch(const Dense& a, Pieces pieces, int threads, int thread, float* data) {
    const int64_t room = room_of(smaller(kSomeRows, a.count), kKind, pieces);
    const int64_t values = longshort::ceil_div(a.features + 1, threads);
    Taker taker{data, 0};
    const auto take = [&](int64_t n) { return reinterpret_cast<Number*>(taker.take(floats_of(n, kKind))); };
    for (int i = 0; i <= thread; ++i) {
      left = take(values * room);
      slopes = taker.take(a.made ? 4 * kBlock * smaller(kSomeRows, a.count) : 0);
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
    // x has the first values of a row, `more` or x the last and the 1 behind them.
    const int64_t M = a.more_features, of_x = M ? D - M : D + 1;
    write_turned(row_of(a.x, D - M), D - M, Range{own.begin, smaller(own.end, of_x)}, own.begin, own.size(), count,
                 s.left, pieces);
    if (M && own.end > of_x)
      write_turned(row_of(a.more, M), M, Range{own.begin > of_x ? own.begin - of_x : 0, own.end - of_x},
                   own.begin - of_x, own.size(), count, s.left, pieces);
    for_blocks(Range{0, blocks_of(C)}, [&](int64_t block, auto some) {
      constexpr int N = decltype(some)::count;
      const int64_t column = block * kBlock, columns = smaller(N * kBlock, C - column);
      if (a.made) {
        for (int64_t r = 0; r < count; ++r)
          sloped_row(a, a.real[first + r], column, columns, s.slopes + r * N * kBlock);
        const auto row = [&](int64_t r) -> const float* { return s.slopes + r * N * kBlock; };
        pack_rows(row, count, columns, 0, N, s.panel, pieces);
      } else {
        pack_rows(row_of(a.dy, C), count, C, column, N, s.panel, pieces);
      }
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

// Calls body(a number of the products' kind).
template <class Body>
void in_kind(Pieces pieces, Body body) {
  if (pieces.count) {
    body(Bfloat16{});
  } else {
    body(float{});
  }
}

// Writes y, or where that is null dx.
void dense(const Dense& a, float* scratch, const Team& team) {
  const Pieces pieces = dense_pieces(a);
  in_kind(pieces, [&](auto kind) {
    using Number = decltype(kind);
    if (a.y) {
      dense_output<Number>(a, pieces, scratch, team);
    } else {
      dense_input<Number>(a, pieces, scratch, team);
    }
  });
  end_products();
}
int64_t dense_scratch(const Dense& a, int threads) {
  int64_t size = 0;
  const Pieces pieces = dense_pieces(a);
  const int64_t depth = a.y ? a.features : a.units, columns = a.y ? a.units : a.features;
  in_kind(pieces, [&](auto kind) {
    size = RowsScratch<decltype(kind)>(depth, columns, pieces, threads - 1, nullptr).size;
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
