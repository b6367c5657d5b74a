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
// The same for a vector, which then lies in a register.
LONGSHORT_INLINE Vector in_register(Vector x) {
#if defined(__AVX512F__) && LONGSHORT_LANES == 16
  asm("" : "+v"(x));
#elif defined(__x86_64__) && (LONGSHORT_LANES == 4 || (defined(__AVX__) && LONGSHORT_LANES == 8))
  asm("" : "+x"(x));
#elif defined(__aarch64__) && LONGSHORT_LANES == 4
  asm("" : "+w"(x));
#endif
  return x;
}
LONGSHORT_INLINE Vector clamp(Vector x, float low, float high) {
  const Vector lowest = splat(hidden(low)), highest = splat(hidden(high));
  x = x < lowest ? lowest : x;
  return x > highest ? highest : x;
}

// x P(x^2) / Q(x^2) with Q(0) = 1, for |x| up to `bound`, where it is `limit` and stays: an odd
// function as the quotient of two polynomials. Both are summed side by side, so that it waits for
// half as many sums as an exponential would. Rounding may lead past the limit, hence the second clamp.
LONGSHORT_INLINE Vector odd_quotient(Vector x, float bound, float limit, const float (&p)[5],
                                     const float (&q)[4]) {
  x = clamp(x, -bound, bound);
  const Vector square = x * x;
  Vector above = splat(p[4]), below = splat(q[3]);
  for (int i = 3; i >= 0; --i) above = mul_add(above, square, splat(p[i]));
  for (int i = 2; i >= 0; --i) below = mul_add(below, square, splat(q[i]));
  return clamp(x * above / mul_add(below, square, splat(1.0f)), -limit, limit);
}

// The coefficients have the smallest largest relative error, 2.1e-8, on |x| <= 9.01 (Remez' exchange
// of extrema), where tanh(x) is 1 in float.
LONGSHORT_INLINE Vector tanh(Vector x) {
  return odd_quotient(x, 9.01f, 1.0f,
                      {0.99999998f, 0.133803713f, 3.49481076e-3f, 2.05962697e-5f, 1.33368428e-8f},
                      {0.467136867f, 2.58740256e-2f, 3.28436278e-4f, 7.76928074e-7f});
}

// 1 / (1 + exp(-x)) = 1/2 + tanh(x / 2) / 2, the halves in the coefficients. Right to half an ulp of
// 1, as the sums that it goes into are, and not relative to itself where it is nearly 0.
LONGSHORT_INLINE Vector sigmoid(Vector x) {
  return splat(0.5f) +
         odd_quotient(x, 18.02f, 0.5f,
                      {0.249999995f, 8.36273208e-3f, 5.46064181e-5f, 8.04541784e-8f, 1.30242606e-11f},
                      {0.116784217f, 1.61712660e-3f, 5.13181684e-6f, 3.03487529e-9f});
}

}  // namespace
