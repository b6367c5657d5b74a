// The variants' activations, by their number in lstm.h, and their derivatives from their values.
#pragma once
#include "lstm.h"
#include "vector.h"

namespace {

LONGSHORT_INLINE Vector absolute(Vector x) { return x < Vector{} ? -x : x; }

LONGSHORT_INLINE Vector activate(int32_t activation, Vector z) {
  switch (activation) {
    case LONGSHORT_RELU: return z < Vector{} ? Vector{} : z;
    case LONGSHORT_SOFTSIGN: return z / (splat(1.0f) + absolute(z));
    case LONGSHORT_LINEAR: return z;
    default: return tanh(z);
  }
}
LONGSHORT_INLINE Vector activation_slope(int32_t activation, Vector y) {
  const Vector one = splat(1.0f);
  switch (activation) {
    case LONGSHORT_RELU: return y > Vector{} ? one : Vector{};
    case LONGSHORT_SOFTSIGN: return (one - absolute(y)) * (one - absolute(y));
    case LONGSHORT_LINEAR: return one;
    default: return mul_add(-y, y, one);
  }
}

LONGSHORT_INLINE Vector activate_gate(int32_t activation, Vector z) {
  if (activation == LONGSHORT_HARD_SIGMOID)
    return clamp(mul_add(z, splat(1.0f / 6.0f), splat(0.5f)), 0.0f, 1.0f);
  return sigmoid(z);
}
LONGSHORT_INLINE Vector gate_slope(int32_t activation, Vector y) {
  const Vector one = splat(1.0f);
  if (activation == LONGSHORT_HARD_SIGMOID) {
    const Vector rising = y > Vector{} ? splat(1.0f / 6.0f) : Vector{};
    return y < one ? rising : Vector{};
  }
  return y * (one - y);
}

}  // namespace
