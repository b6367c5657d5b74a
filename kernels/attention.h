// Attention of a row of the batch and its gradients: each step of a target reads a weighted mean of a source.
//
//   a_ts = softmax over s of e_ts    context_t = sum over s of a_ts value_s
//   e_ts = q_t k_s, or with v: sum of v tanh(q_t + k_s)
//
// What lies behind the last real step of a source is not read. The tanhs are found again for the gradients: kept
// they would be of size T S A, and a tanh takes less time than memory takes for it.
#pragma once
#include "exponentials.h"
#include "isa.h"
#include "products.h"

namespace {

using longshort::Attention;

// Steps of row b's source up to its last real one.
inline int64_t reach_of(const Attention& a, int64_t b) {
  int64_t n = a.source;
  while (n > 0 && !a.mask[b * a.source + n - 1]) --n;
  return n;
}

// A thread's.
struct AttentionScratch {
  float* packed;  // a right factor of one tile
  float* scores;  // (T, S padded), or their gradient
  int64_t stride;  // of scores
  int64_t size;

  AttentionScratch(const Attention& a, int thread, float* data) {
    const int64_t depth = a.width > a.size ? a.width : a.size, steps = a.source > a.target ? a.source : a.target;
    stride = blocks_of(a.source) * kBlock;
    Taker taker{data, 0};
    for (int i = 0; i <= thread; ++i) {
      packed = taker.take((depth > steps ? depth : steps) * 4 * kBlock);
      scores = taker.take(a.target * stride);
    }
    size = taker.used;
  }
};
inline int64_t attention_scratch(const Attention& a, int threads) {
  return AttentionScratch(a, threads - 1, nullptr).size;
}

// The lanes of `value` from s on that are real steps of row b, `other` in the rest.
LONGSHORT_INLINE Vector where_real(const Attention& a, int64_t b, int64_t s, Vector value, Vector other) {
  for (int64_t i = 0; i < kLanes; ++i)
    if (s + i >= a.source || !a.mask[b * a.source + s + i]) value[i] = other[i];
  return value;
}
LONGSHORT_INLINE float sum_of(Vector x) {
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) x[i] += x[i + half];
  return x[0];
}

// Of a step of the target and one of the source.
inline float score_of(const float* q, const float* k, const float* v, int64_t width) {
  Vector sum = {};
  for (int64_t i = 0; i < width; i += kLanes) {
    const int64_t n = width - i;
    const Vector x = load_n(q + i, n), y = load_n(k + i, n);
    sum = v ? mul_add(load_n(v + i, n), tanh(x + y), sum) : mul_add(x, y, sum);
  }
  return sum_of(sum);
}

// With fewer steps of a target, one at a time where a decoder has input feeding, packing keys and values would take
// longer than their products do.
constexpr int64_t kFewSteps = 3;
inline void context_of(const Attention& a, const float* weights, const float* values, int64_t reach, float* out) {
  for (int64_t d = 0; d < a.size; d += kLanes) {
    Vector sum = {};
    for (int64_t i = 0; i < reach; ++i)
      sum = mul_add(splat(weights[i]), load_n(values + i * a.size + d, a.size - d), sum);
    store_n(out + d, sum, a.size - d);
  }
}

// Writes context and weights of row b.
void attend_row(const Attention& a, int64_t b, int thread, float* data) {
  const AttentionScratch s(a, thread, data);
  const int64_t T = a.target, S = a.source, A = a.width, D = a.size, reach = reach_of(a, b);
  const float *query = a.query + b * T * A, *keys = a.keys + b * S * A, *values = a.values + b * S * D;
  float *context = a.context + b * T * D, *weights = a.weights + b * T * S;
  if (a.v || T < kFewSteps) {
    for (int64_t t = 0; t < T; ++t)
      for (int64_t i = 0; i < reach; ++i)
        s.scores[t * s.stride + i] = score_of(query + t * A, keys + i * A, a.v, A);
  } else {
    product_of_any(Factor{query, A, 1}, T, Matrix{keys, A, reach, 1, A}, s.packed, s.scores, s.stride);
  }
  const Vector lowest = splat(-3.4e38f);
  for (int64_t t = 0; t < T; ++t) {
    float* scores = s.scores + t * s.stride;
    Vector largest = lowest, sum = {};
    for (int64_t i = 0; i < reach; i += kLanes) {
      const Vector here = where_real(a, b, i, load_n(scores + i, reach - i), lowest);
      store(scores + i, here);
      largest = here > largest ? here : largest;
    }
    float highest = largest[0];
    for (int i = 1; i < kLanes; ++i) highest = largest[i] > highest ? largest[i] : highest;
    for (int64_t i = 0; i < reach; i += kLanes) {
      const Vector e = where_real(a, b, i, exp_negative(load(scores + i) - splat(highest)), Vector{});
      store(scores + i, e);
      sum = sum + e;
    }
    const Vector total = splat(sum_of(sum));
    for (int64_t i = 0; i < reach; i += kLanes)
      store_n(weights + t * S + i, load(scores + i) / total, reach - i);
    memset(weights + t * S + reach, 0, (S - reach) * sizeof(float));
  }
  if (T < kFewSteps) {
    for (int64_t t = 0; t < T; ++t) context_of(a, weights + t * S, values, reach, context + t * D);
  } else {
    product_of_any(Factor{weights, S, 1}, T, Matrix{values, reach, D, D, 1}, s.packed, context, D);
  }
}

// dquery, dkeys and dv of row b from the gradient of the scores, kLanes of the width at a time.
inline void additive_gradient(const Attention& a, int64_t b, const float* dscores, int64_t stride, int64_t reach) {
  const int64_t T = a.target, S = a.source, A = a.width;
  for (int64_t i = 0; i < A; i += kLanes) {
    const int64_t n = A - i;
    const float *query = a.query + b * T * A + i, *keys = a.keys + b * S * A + i;
    float *dquery = a.dquery + b * T * A + i, *dkeys = a.dkeys + b * S * A + i;
    const Vector v = load_n(a.v + i, n), one = splat(1.0f);
    Vector dv = {};
    for (int64_t t = 0; t < T; ++t) {
      const Vector q = load_n(query + t * A, n);
      Vector dq = {};
      for (int64_t k = 0; k < reach; ++k) {
        const float de = dscores[t * stride + k];
        if (de == 0) continue;  // holes in the source, and what lies behind the end of a target
        const Vector y = tanh(q + load_n(keys + k * A, n)), factor = splat(de);
        const Vector dz = factor * v * mul_add(-y, y, one);
        dv = mul_add(factor, y, dv);
        dq = dq + dz;
        store_n(dkeys + k * A, load_n(dkeys + k * A, n) + dz, n);
      }
      store_n(dquery + t * A, dq, n);
    }
    store_n(a.dv_rows + b * A + i, dv, n);
  }
}

// Writes the gradients of row b, that of v into dv_rows.
void attend_row_gradient(const Attention& a, int64_t b, int thread, float* data) {
  const AttentionScratch s(a, thread, data);
  const int64_t T = a.target, S = a.source, A = a.width, D = a.size, reach = reach_of(a, b);
  const float *query = a.query + b * T * A, *keys = a.keys + b * S * A, *values = a.values + b * S * D;
  const float *weights = a.weights + b * T * S, *dcontext = a.dcontext + b * T * D;
  float *dkeys = a.dkeys + b * S * A, *dvalues = a.dvalues + b * S * D;
  const auto clear_rows = [](float* rows, int64_t from, int64_t to, int64_t width) {
    memset(rows + from * width, 0, (to - from) * width * sizeof(float));
  };
  product_of_any(Factor{weights, 1, S}, reach, Matrix{dcontext, T, D, D, 1}, s.packed, dvalues, D);
  clear_rows(dvalues, reach, S, D);
  // The gradient of the weights, then of the scores: a (da - sum over s of a da).
  product_of_any(Factor{dcontext, D, 1}, T, Matrix{values, D, reach, 1, D}, s.packed, s.scores, s.stride);
  for (int64_t t = 0; t < T; ++t) {
    float* scores = s.scores + t * s.stride;
    const float *own = weights + t * S, *arriving = a.dweights + (b * T + t) * S;
    Vector sum = {};
    for (int64_t i = 0; i < reach; i += kLanes) {
      const int64_t n = reach - i;
      const Vector da = load_n(scores + i, n) + load_n(arriving + i, n);
      store(scores + i, da);
      sum = mul_add(load_n(own + i, n), da, sum);
    }
    const Vector mean = splat(sum_of(sum));
    for (int64_t i = 0; i < reach; i += kLanes)
      store(scores + i, load_n(own + i, reach - i) * (load(scores + i) - mean));
  }
  if (a.v) {
    clear_rows(dkeys, 0, S, A);
    return additive_gradient(a, b, s.scores, s.stride, reach);
  }
  product_of_any(Factor{s.scores, s.stride, 1}, T, Matrix{keys, reach, A, A, 1}, s.packed, a.dquery + b * T * A, A);
  product_of_any(Factor{s.scores, 1, s.stride}, reach, Matrix{query, T, A, A, 1}, s.packed, dkeys, A);
  clear_rows(dkeys, reach, S, A);
}

}  // namespace
