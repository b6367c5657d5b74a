// Factors of products as bfloat16s: one each, which rounds it, or three, which are it.
//
// A depth is cut into chunks of 32 k, the last padded with zeros. The left factor is (chunks, rows, 32), the
// right one (chunks, N, 16, kLanes, 2): two neighbouring k form a pair, so that 32 bits hold one on both sides.
// What an AMX tile holds, 16 rows of 16 pairs, then lies in one piece of memory, which is fetched ahead.
//
// AMX multiplies bfloat16 some fifteen times as fast as AVX-512 multiplies floats. So products of floats too
// are made of it there: a float is the sum of three bfloat16s, and of the nine products of two floats' pieces
// the six largest are added; the others are below 2^-24 of the product (Henry, Tang, Heinecke 2019).
#pragma once
#include "tile.h"
#include "turn.h"

namespace {

typedef uint16_t Bfloat16;

constexpr int64_t kChunk = 32;
constexpr int64_t kRightTile = kChunk * kLanes;  // bfloat16s of a chunk of one column block

// How many bfloat16s a factor is made of: one, which rounds it, or three, which are it. Each has a chunk of
// its own, one behind the other. 0: the products are of floats.
struct Pieces {
  int count = 0;

  Pieces() = default;
  // As the call says: it rounds, where the set can multiply what it gets.
  template <class Call>
  LONGSHORT_INLINE explicit Pieces(const Call& a) {
#if LONGSHORT_AMX || LONGSHORT_AVX512_BF16
    count = a.bfloat16 ? 1 : 0;
#else
    (void)a;
#endif
  }
  // Three where that is faster than floats and `worth` it. Not in the loop over time, whose weights, half as
  // large again then, come from afar at each step; so a row's bits do not depend on its batch.
  static Pieces where_worth(bool worth) {
    Pieces pieces;
#if LONGSHORT_AMX
    if (worth) pieces.count = 3;
#else
    (void)worth;
#endif
    return pieces;
  }
  // The same, but one as the call says.
  template <class Call>
  static Pieces where_worth(const Call& a, bool worth) {
    const Pieces pieces(a);
    return pieces.count ? pieces : where_worth(worth);
  }
  // Chunks that a depth takes, and the first of those that k is in.
  LONGSHORT_INLINE int64_t chunks(int64_t depth) const { return longshort::ceil_div(depth, kChunk) * count; }
  LONGSHORT_INLINE int64_t chunk(int64_t k) const { return k / kChunk * count; }
  // bfloat16s that a row takes, or a column.
  LONGSHORT_INLINE int64_t room(int64_t depth) const { return chunks(depth) * kChunk; }
  // Where k is in row 0 of a left factor, `step` bfloat16s from one chunk to the next, and in column block 0
  // of a right one.
  LONGSHORT_INLINE int64_t in_row(int64_t k, int64_t step) const { return chunk(k) * step + k % kChunk; }
  LONGSHORT_INLINE int64_t in_column(int64_t k, int64_t step) const {
    return chunk(k) * step + k % kChunk * kLanes;
  }
};

// A depth with what its last chunk has beyond it.
inline int64_t whole_chunks(int64_t depth) { return longshort::ceil_div(depth, kChunk) * kChunk; }

// Whether a call's products are of bfloat16s.
template <class Call>
LONGSHORT_INLINE bool in_bfloat16(const Call& a) {
  return Pieces(a).count > 0;
}

// Floats of scratch that hold n bfloat16.
inline int64_t halved(int64_t n) { return longshort::ceil_div(n, 2); }

typedef uint32_t Bits __attribute__((vector_size(kLanes * 4)));  // unsigned: the sums below may overflow

// The 32 bits of each lane, of which the upper half is x rounded to nearest, ties to even.
LONGSHORT_INLINE Integers round_bits(Vector x) {
  const Bits bits = reinterpret_cast<Bits>(x);
  const Bits rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return reinterpret_cast<Integers>(x == x ? rounded : (bits | 0x400000));  // a NaN must not become infinity
}
LONGSHORT_INLINE void store_bfloat16(Bfloat16* p, Vector x) {
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
  const Halves halves = __builtin_convertvector(round_bits(x) >> 16, Halves);
  memcpy(p, &halves, sizeof halves);
}
// The first of three pieces, of which x then lacks it: as above, but with ties away from zero, which is less
// work. What it rounds off is a float; what the third would round off is nothing. A NaN ends in the third.
LONGSHORT_INLINE Integers take_piece(Vector& x) {
  const Bits piece = (reinterpret_cast<Bits>(x) + 0x8000) & 0xffff0000u;
  x = x - reinterpret_cast<Vector>(piece);
  return reinterpret_cast<Integers>(piece);
}

// kLanes factors of a row, the first at p; `step` from one piece to the next.
LONGSHORT_INLINE void store_pieces(Bfloat16* p, Vector x, Pieces pieces, int64_t step) {
  if (pieces.count == 1) return store_bfloat16(p, x);
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
  for (int i = 0; i < 3; ++i, p += step) {
    const Integers bits = i < 2 ? take_piece(x) : reinterpret_cast<Integers>(x);
    const Halves halves = __builtin_convertvector(bits >> 16, Halves);
    memcpy(p, &halves, sizeof halves);
  }
}
// A row of n floats; what is left of its last chunk is zero.
inline void store_row(const float* in, int64_t n, Bfloat16* out, Pieces pieces, int64_t step) {
  for (int64_t k = 0; k < whole_chunks(n); k += kLanes)
    store_pieces(out + pieces.in_row(k, step), k < n ? load_n(in + k, n - k) : Vector{}, pieces, step);
}
// Zeros behind a row of n floats that was written in whole vectors.
inline void clear_padding(Bfloat16* row, int64_t n, Pieces pieces, int64_t step) {
  const int64_t end = whole_chunks(n);
  for (int64_t k = longshort::ceil_div(n, kLanes) * kLanes; k < end; k += kLanes)
    store_pieces(row + pieces.in_row(k, step), Vector{}, pieces, step);
}
// kLanes pairs, `even` and `odd` the values at k and k + 1, piece by piece: body(piece, pairs).
template <class Body>
LONGSHORT_INLINE void for_pairs(Vector even, Vector odd, Pieces pieces, Body body) {
  const auto join = [](Integers low, Integers high) {
    return reinterpret_cast<Vector>(((low >> 16) & 0xffff) | (high & static_cast<int32_t>(0xffff0000)));
  };
  if (pieces.count == 1) return body(0, join(round_bits(even), round_bits(odd)));
  for (int i = 0; i < 2; ++i) {
    const Integers low = take_piece(even), high = take_piece(odd);
    body(i, join(low, high));
  }
  body(2, join(reinterpret_cast<Integers>(even), reinterpret_cast<Integers>(odd)));
}
// Of a column block; `step` from one piece to the next.
LONGSHORT_INLINE void store_pairs(Bfloat16* p, Vector even, Vector odd, Pieces pieces, int64_t step) {
  for_pairs(even, odd, pieces,
            [&](int64_t piece, Vector pairs) { store(reinterpret_cast<float*>(p + piece * step), pairs); });
}

}  // namespace
