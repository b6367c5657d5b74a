// Squares of a matrix, turned in registers: read along its rows, written along its columns.
#pragma once
#include "vector.h"

namespace {

// A square of kLanes vectors is turned by passes that interleave its halves.
LONGSHORT_INLINE void interleave(Vector a, Vector b, Vector& low, Vector& high) {
#if defined(__AVX512F__) && LONGSHORT_LANES == 16
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const auto x = reinterpret_cast<__m512>(a), y = reinterpret_cast<__m512>(b);
  low = reinterpret_cast<Vector>(_mm512_permutex2var_ps(x, first, y));
  high = reinterpret_cast<Vector>(_mm512_permutex2var_ps(x, second, y));
#elif defined(__AVX__) && LONGSHORT_LANES == 8
  const auto x = reinterpret_cast<__m256>(a), y = reinterpret_cast<__m256>(b);
  const __m256 outer = _mm256_unpacklo_ps(x, y), inner = _mm256_unpackhi_ps(x, y);  // of each half
  low = reinterpret_cast<Vector>(_mm256_permute2f128_ps(outer, inner, 0x20));
  high = reinterpret_cast<Vector>(_mm256_permute2f128_ps(outer, inner, 0x31));
#else
  for (int i = 0; i < kLanes / 2; ++i) {
    low[2 * i] = a[i];
    low[2 * i + 1] = b[i];
    high[2 * i] = a[kLanes / 2 + i];
    high[2 * i + 1] = b[kLanes / 2 + i];
  }
#endif
}
// Each pass writes to other places than it reads from, so that none is copied back.
LONGSHORT_INLINE void interleave_halves(const Vector (&in)[kLanes], Vector (&out)[kLanes]) {
#pragma GCC unroll 8
  for (int i = 0; i < kLanes / 2; ++i) interleave(in[i], in[kLanes / 2 + i], out[2 * i], out[2 * i + 1]);
}
LONGSHORT_INLINE void turn(Vector (&rows)[kLanes]) {
  Vector first[kLanes], second[kLanes];
  interleave_halves(rows, first);
  if constexpr (kLanes == 4) return interleave_halves(first, rows);
  interleave_halves(first, second);
  if constexpr (kLanes == 8) return interleave_halves(second, rows);
  interleave_halves(second, first);
  interleave_halves(first, rows);
}
// kLanes rows of n values each, of which `rows` are there and the others zero, into as many columns.
LONGSHORT_INLINE void turn_part(const float* in, int64_t stride, int64_t rows, int64_t n, float* out,
                                int64_t out_stride) {
  Vector square[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) square[i] = i < rows ? load_n(in + i * stride, n) : Vector{};
  turn(square);
  for (int64_t i = 0; i < kLanes; ++i) store(out + i * out_stride, square[i]);
}

}  // namespace
