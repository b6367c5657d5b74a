// The loss of a softmax over many tokens, and its gradient: three products, and what is between them
// while it is in a cache.
//
//   z = y W' + b    g = (softmax(z) - label) / count    dy = g W    dW = g' y    db = sum of g
//
// Rows are taken some hundred at a time, so that their logits stay near. A portion has four parts, and
// the team waits after each: its rows are copied, z by columns, g by rows, and dy by rows with dW by columns.
#pragma once
#include "exponentials.h"
#include "isa.h"
#include "products.h"

namespace {

using longshort::LossRows;
using Loss = longshort_token_loss;

// Depth that the gradient of y sums at a time: that much of the weights stays in a core's own cache.
constexpr int64_t kSlice = 512;

inline Pieces loss_pieces(const Loss& a) { return Pieces::where_worth(a, a.rows >= 64 && a.size >= 32); }

// Scratch of a call; of it all threads write and read everything but `panel`.
template <class Number>
struct LossScratch {
  static constexpr const Number* kKind = nullptr;
  const Pieces pieces;
  int64_t columns;    // of a row of logits
  int64_t width;      // floats from one to the next, with room for its gradient in pieces
  Number* by_tokens;  // W as the right factor of z: for each tile of columns (E, its tokens)
  Number* by_values;  // W as the right factor of dy: (V, its values)
  Number* rows;       // y of a portion, (rows, E)
  Number* turned;     // y' of a portion and a row of ones, (E + 1, rows)
  float* logits;      // (rows, width); then g, as a left factor with the same distance between rows
  float* dy;          // of a portion, (rows, E)
  float* sums;        // dW and db: for each tile of columns (E + 1, its tokens)
  float* bias;        // (columns)
  float* losses;      // a row each
  Number* panel;      // g of a few tiles of columns as right factors
  int64_t size;

  LossScratch(const Loss& a, const LossRows& of, int thread, float* data)
      : pieces(loss_pieces(a)) {
    const int64_t V = blocks_of(a.tokens) * kBlock, E = blocks_of(a.size) * kBlock;
    columns = longshort::ceil_div(V, 64) * 64;
    width = pieces.count == 3 ? columns * 3 / 2 : columns;
    Taker taker{data, 0};
    const auto take = [&](int64_t n) { return reinterpret_cast<Number*>(taker.take(floats_of(n, kKind))); };
    by_tokens = take(V * room(a.size));
    by_values = take(E * room(a.tokens));
    rows = take(of.portion * room(a.size));
    turned = take((a.size + 1) * room(of.portion));
    logits = taker.take(of.portion * width);
    dy = taker.take(of.portion * E);
    sums = taker.take((a.size + 1) * V);
    bias = taker.take(columns);
    losses = taker.take(of.count);
    for (int i = 0; i <= thread; ++i) panel = take(room(of.portion) * kNearBlocks * kBlock);
    size = taker.used;
  }
  Number* gradient() const { return reinterpret_cast<Number*>(logits); }
  int64_t room(int64_t depth) const { return room_of(depth, kKind, pieces); }
  int64_t stride() const { return width * static_cast<int64_t>(sizeof(float) / sizeof(Number)); }
};

// Exponentials -> the gradient of their row, where they lie.
LONGSHORT_INLINE void write_gradient(float* z, int64_t V, int64_t columns, Vector factor, Vector less, Pieces) {
  for (int64_t v = 0; v < V; v += kBlock) store(z + v, mul_add(load(z + v), factor, -less));
  for (int64_t v = V; v < columns; ++v) z[v] = 0;
}
LONGSHORT_INLINE void write_gradient(Bfloat16* out, int64_t V, int64_t columns, Vector factor, Vector less,
                                     Pieces pieces) {
  const float* z = reinterpret_cast<const float*>(out);
  const auto value = [&](int64_t v) { return v < V ? mul_add(load(z + v), factor, -less) : Vector{}; };
  // What is narrower stays behind what is read; what is wider does so from the end on.
  const bool wider = pieces.count == 3;
  for (int64_t i = 0; i < columns; i += kChunk) {
    const int64_t v = wider ? columns - kChunk - i : i;
    Vector pair[kChunk / kLanes];
    for (int n = 0; n < kChunk / kLanes; ++n) pair[n] = value(v + n * kLanes);
    for (int n = 0; n < kChunk / kLanes; ++n)
      store_pieces(out + pieces.in_row(v + n * kLanes, kChunk), pair[n], pieces, kChunk);
  }
}

// A row of logits without the bias -> its gradient, in place; returns the loss.
//
// Exponentials are summed before they are divided by their sum, and the label is taken off in between.
template <class Number>
float loss_of_row(const Loss& a, const LossRows& of, int64_t target, float* z, const float* bias,
                  int64_t columns, Pieces pieces) {
  const int64_t V = blocks_of(a.tokens) * kBlock;
  Vector largest = splat(-3.4e38f), sum = {};
  for (int64_t v = 0; v < V; v += kBlock) {
    const Vector raw = load(z + v), here = raw + load(bias + v);
    sum = sum + raw;
    largest = here > largest ? here : largest;
  }
  float highest = largest[0], total = 0, all = 0;
  for (int i = 1; i < kLanes; ++i) highest = largest[i] > highest ? largest[i] : highest;
  for (int i = 0; i < kLanes; ++i) all += sum[i];
  const float wanted = z[target] + bias[target] - highest;
  const Vector top = splat(highest);
  sum = Vector{};
  for (int64_t v = 0; v < V; v += kBlock) {
    const Vector e = exp_negative(load(z + v) + load(bias + v) - top);
    store(z + v, e);
    sum = sum + e;
  }
  for (int i = 0; i < kLanes; ++i) total += sum[i];
  const float share = a.share, tokens = static_cast<float>(a.tokens), rows = static_cast<float>(of.count);
  z[target] -= (1 - share) * total;
  const Vector factor = splat(1 / (total * rows)), less = splat(share / (tokens * rows));
  write_gradient(reinterpret_cast<Number*>(z), V, columns, factor, less, pieces);
  float loss = __builtin_logf(total) - (1 - share) * wanted;
  if (share) loss -= share * ((all + of.bias_sum) / tokens - highest);
  return loss;
}

// The rows of a portion, as the left factors of z and of dW.
template <class Number>
void copy_rows(const Loss& a, const LossRows& of, Range portion, const LossScratch<Number>& s,
               const Team& team) {
  const int64_t E = a.size, count = portion.size();
  const auto row = [&](int64_t r) { return a.y + of.real[portion.begin + r] * E; };
  const Range own = longshort::part(count, team.index, team.size);
  for (int64_t r = own.begin; r < own.end; ++r) write_row(row(r), E, s.rows, r, count, s.pieces);
  const Range values = longshort::part(E + 1, team.index, team.size);
  write_turned(row, E, values, 0, E + 1, count, s.turned, s.pieces);
}

// A tile of sums (E + 1, N kLanes) to where it belongs.
template <int N>
void unpack_sums(const Loss& a, int64_t block, const float* sums) {
  const int64_t E = a.size, V = a.tokens, first = block * kBlock, columns = smaller(N * kBlock, V - first);
  if (a.by_values) {
    for (int64_t e = 0; e < E; ++e)
      memcpy(a.dweights + e * V + first, sums + e * N * kBlock, columns * sizeof(float));
  } else {
    for (int64_t e = 0; e < E; e += kLanes) {
      for (int64_t c = 0; c < columns; c += kLanes) {
        float square[kLanes][kLanes];
        turn_part(sums + e * N * kBlock + c, N * kBlock, smaller(kLanes, E - e), kLanes, square[0], kLanes);
        for (int64_t i = 0; i < smaller(kLanes, columns - c); ++i)
          store_n(a.dweights + (first + c + i) * E + e, load(square[i]), E - e);
      }
    }
  }
  memcpy(a.dbias + first, sums + E * N * kBlock, columns * sizeof(float));
}

template <class Number>
void loss_of_team(const Loss& a, const LossRows& of, float* scratch, const Team& team) {
  const LossScratch<Number> s(a, of, team.index, scratch);
  const int64_t E = a.size, V = a.tokens;
  const int64_t by_token = s.room(E), by_value = s.room(V);
  const auto own = [&](int64_t count) { return longshort::part(count, team.index, team.size); };
  const Range own_tokens = own_tiles(V, team);
  // W is (V, E), or by values (E, V).
  const int64_t of_token = a.by_values ? 1 : E, of_value = a.by_values ? V : 1;
  for_blocks(own_tokens, [&](int64_t block, auto width) {
    pack_right(Matrix{a.weights, E, V, of_value, of_token}, block * kBlock, decltype(width)::count,
               s.by_tokens + block * kBlock * by_token, s.pieces);
  });
  for_blocks(own_tiles(E, team), [&](int64_t block, auto width) {
    pack_right(Matrix{a.weights, V, E, of_token, of_value}, block * kBlock, decltype(width)::count,
               s.by_values + block * kBlock * by_value, s.pieces);
  });
  if (team.index == 0)
    for (int64_t v = 0; v < s.columns; ++v) s.bias[v] = v < V ? a.bias[v] : -3.4e38f;

  const int64_t portions = longshort::ceil_div(of.count, of.portion);
  for (int64_t i = 0; i < portions; ++i) {
    const Range portion = longshort::part(of.count, i, portions);
    const int64_t count = portion.size();
    copy_rows(a, of, portion, s, team);
    team.wait();
    for_near(own_tokens, count, [](Range) {}, [&](Range some, Range near) {
      for_blocks(some, [&](int64_t block, auto width) {
        product<decltype(width)::count>(
            left_rows(s.rows, count, E).from(near.begin), s.by_tokens + block * kBlock * by_token, E,
            s.logits + near.begin * s.width + block * kBlock, s.width, false, near.size(), s.pieces);
      });
    });
    team.wait();
    const Range rows = own(count);
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      const int64_t row = portion.begin + r;
      s.losses[row] = loss_of_row<Number>(a, of, a.targets[of.real[row]], s.logits + r * s.width, s.bias,
                                          s.columns, s.pieces);
    }
    team.wait();
    const int64_t E_padded = blocks_of(E) * kBlock;
    for (int64_t v = 0; v < V; v += kSlice) {
      const LeftRows<Number> left{s.gradient() + rows.begin * s.stride() + s.room(v), s.stride(), kChunk};
      for_blocks(Range{0, blocks_of(E)}, [&](int64_t block, auto width) {
        constexpr int N = decltype(width)::count;
        product<N>(left, s.by_values + (block * by_value + s.room(v) * N) * kBlock, smaller(kSlice, V - v),
                   s.dy + rows.begin * E_padded + block * kBlock, E_padded, v > 0, rows.size(), s.pieces);
      });
    }
    for (int64_t r = rows.begin; r < rows.end; ++r)
      memcpy(a.dy + of.real[portion.begin + r] * E, s.dy + r * E_padded, E * sizeof(float));
    const int64_t panel = s.room(count) * kBlock;
    const auto pack = [&](Range some) {
      for_blocks(some, [&](int64_t block, auto width) {
        pack_gradient(s.gradient(), count, s.stride(), block * kBlock, decltype(width)::count,
                      s.panel + (block - some.begin) * panel, s.pieces);
      });
    };
    for_near(own_tokens, E + 1, pack, [&](Range some, Range near) {
      for_blocks(some, [&](int64_t block, auto width) {
        constexpr int N = decltype(width)::count;
        product<N>(left_rows(s.turned, E + 1, count).from(near.begin), s.panel + (block - some.begin) * panel,
                   count, s.sums + block * kBlock * (E + 1) + near.begin * N * kBlock, N * kBlock, i > 0,
                   near.size(), s.pieces);
        if (i + 1 == portions && near.end == E + 1) unpack_sums<N>(a, block, s.sums + block * kBlock * (E + 1));
      });
    });
    team.wait();
  }
  if (team.index == 0) {
    double sum = 0;
    for (int64_t r = 0; r < of.count; ++r) sum += s.losses[r];
    *a.loss = static_cast<float>(sum / static_cast<double>(of.count));
  }
  if constexpr (sizeof(Number) < sizeof(float)) end_products();
}

inline int64_t token_loss_scratch(const Loss& a, const LossRows& of, int threads) {
  if (loss_pieces(a).count) return LossScratch<Bfloat16>(a, of, threads - 1, nullptr).size;
  return LossScratch<float>(a, of, threads - 1, nullptr).size;
}
inline void token_loss(const Loss& a, const LossRows& of, float* scratch, const Team& team) {
  if (loss_pieces(a).count) {
    loss_of_team<Bfloat16>(a, of, scratch, team);
  } else {
    loss_of_team<float>(a, of, scratch, team);
  }
}

}  // namespace
