// Vectors of LONGSHORT_LANES floats (GCC and Clang vector extensions) and the cell's functions.
// Everything is in an unnamed namespace: each instruction set has its own copy.
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

constexpr int kLanes = LONGSHORT_LANES;
typedef float Vector __attribute__((vector_size(kLanes * 4)));
typedef int32_t Integers __attribute__((vector_size(kLanes * 4)));
typedef float Unaligned __attribute__((vector_size(kLanes * 4), aligned(4)));

#define LONGSHORT_INLINE inline __attribute__((always_inline))

LONGSHORT_INLINE Vector load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
LONGSHORT_INLINE void store(float* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
LONGSHORT_INLINE Vector splat(float x) { return x - Vector{}; }

// a b + c, rounded once where the instruction set can. Written out, and left to no compiler's choice
// (-ffp-contract=off): a row must give the same bits in a tile of any height.
LONGSHORT_INLINE Vector mul_add(Vector a, Vector b, Vector c) {
#if defined(__AVX512F__) && LONGSHORT_LANES == 16
  return reinterpret_cast<Vector>(_mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b),
                                                  reinterpret_cast<__m512>(c)));
#elif defined(__FMA__) && LONGSHORT_LANES == 8
  return reinterpret_cast<Vector>(_mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b),
                                                  reinterpret_cast<__m256>(c)));
#elif defined(__aarch64__) && LONGSHORT_LANES == 4
  return reinterpret_cast<Vector>(vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a),
                                            reinterpret_cast<float32x4_t>(b)));
#else
  return a * b + c;
#endif
}

// The first n lanes; n may be anything, lanes past it read as zero and are not written.
LONGSHORT_INLINE Vector load_n(const float* p, int64_t n) {
  if (n >= kLanes) return load(p);
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
LONGSHORT_INLINE void store_n(float* p, Vector v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

// Starts the way of `floats` floats into the cache.
template <bool Write>
LONGSHORT_INLINE void prefetch(const float* p, int64_t floats) {
  for (int64_t i = 0; i < floats; i += 16) __builtin_prefetch(p + i, Write, 3);
}

// exp(x) = scale (1 + rest), for |x| <= 87; NaN stays NaN.
struct Exp {
  Vector scale, rest;
};
LONGSHORT_INLINE Exp split_exp(Vector x) {
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer; the integer is then in the
  // low bits. ln 2 in two parts keeps the remainder exact to float's last bit (Cody and Waite).
  const Vector magic = splat(12582912.0f);
  const Vector shifted = mul_add(x, splat(1.44269504f), magic);
  const Vector n = shifted - magic;
  const Vector r = mul_add(n, splat(2.12194440e-4f), mul_add(n, splat(-0.693359375f), x));
  // exp(r) - 1 for |r| <= ln(2) / 2: the Taylor series to r^7, whose rest is below 2e-9 there.
  Vector p = splat(1.98412698e-4f);
  p = mul_add(p, r, splat(1.38888889e-3f));
  p = mul_add(p, r, splat(8.33333333e-3f));
  p = mul_add(p, r, splat(4.16666667e-2f));
  p = mul_add(p, r, splat(1.66666667e-1f));
  p = mul_add(p, r, splat(0.5f));
  p = mul_add(p * r, r, r);
  const Integers bits = (reinterpret_cast<Integers>(shifted) + 127) << 23;
  return Exp{reinterpret_cast<Vector>(bits), p};
}

// A number that the compiler does not know: with known ones GCC compares and blends where one
// minimum or maximum would do.
LONGSHORT_INLINE float hidden(float x) {
#if defined(__x86_64__)
  asm("" : "+x"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return x;
}
LONGSHORT_INLINE Vector clamp(Vector x, float low, float high) {
  const Vector lowest = splat(hidden(low)), highest = splat(hidden(high));
  x = x < lowest ? lowest : x;
  return x > highest ? highest : x;
}

// 1 / (1 + exp(-x)).
LONGSHORT_INLINE Vector sigmoid(Vector x) {
  const Exp e = split_exp(clamp(-x, -87.0f, 87.0f));
  return splat(1.0f) / (splat(1.0f) + mul_add(e.scale, e.rest, e.scale));
}

// expm1(2x) / (expm1(2x) + 2): exact to a few ulp near zero, 1 past |x| = 9 in float.
LONGSHORT_INLINE Vector tanh(Vector x) {
  const Exp e = split_exp(clamp(x + x, -20.0f, 20.0f));
  const Vector m = mul_add(e.scale, e.rest, e.scale - splat(1.0f));
  return m / (m + splat(2.0f));
}

}  // namespace
