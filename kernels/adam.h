// What a step of Adam does to a stretch of weights (adam.cpp).
#pragma once
#include "isa.h"
#include "vector.h"

namespace {

using longshort::AdamStep;

LONGSHORT_INLINE Vector square_root(Vector x) {
#if defined(__AVX512F__) && LONGSHORT_LANES == 16
  return reinterpret_cast<Vector>(_mm512_sqrt_ps(reinterpret_cast<__m512>(x)));
#elif defined(__AVX__) && LONGSHORT_LANES == 8
  return reinterpret_cast<Vector>(_mm256_sqrt_ps(reinterpret_cast<__m256>(x)));
#elif defined(__aarch64__) && LONGSHORT_LANES == 4
  return reinterpret_cast<Vector>(vsqrtq_f32(reinterpret_cast<float32x4_t>(x)));
#else
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

double sum_of_squares(const float* x, int64_t n) {
  Vector sums[4] = {};  // side by side, since each waits for its last addition
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vector here = load_n(x + i, n - i);
    sums[i / kLanes % 4] = mul_add(here, here, sums[i / kLanes % 4]);
  }
  double sum = 0;
  for (const Vector& part : sums)
    for (int i = 0; i < kLanes; ++i) sum += part[i];
  return sum;
}

// m += (1 - b1) (g - m)    v += (1 - b2) (g^2 - v)    w -= rate m / (sqrt(v) + epsilon)    with g scaled
void adam(const AdamStep& a, float scale, int64_t n, const float* gradient, float* weights, float* mean,
          float* square) {
  const Vector factor = splat(scale), to_mean = splat(a.to_mean), to_square = splat(a.to_square);
  const Vector rate = splat(a.rate), epsilon = splat(a.epsilon);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t width = n - i;
    const Vector g = load_n(gradient + i, width) * factor;
    Vector m = load_n(mean + i, width), v = load_n(square + i, width), w = load_n(weights + i, width);
    m = mul_add(g - m, to_mean, m);
    v = mul_add(g * g - v, to_square, v);
    w = w - m * rate / (square_root(v) + epsilon);
    store_n(mean + i, m, width);
    store_n(square + i, v, width);
    store_n(weights + i, w, width);
  }
}

}  // namespace
