// exp(x) and log(1 + exp(x)) where x is not above 0: what exponential gates need.
#pragma once
#include "vector.h"

namespace {

// exp(x) = 2^n exp(r), n the nearest whole number to x / log 2; right to 1.2 units of the last place. From
// -87.3 down it is the smallest normal number. exp(0) is 1 exactly.
LONGSHORT_INLINE Vector exp_negative(Vector x) {
  x = clamp(x, -87.3f, 0.0f);
  const Vector magic = splat(12582912.0f);  // 1.5 * 2^23: what is added to it is rounded to whole numbers
  const Vector shifted = mul_add(x, splat(1.44269504f), magic);
  const Vector n = shifted - magic;
  // log 2 in two parts, of which the first times n is exact.
  const Vector r = mul_add(n, splat(2.12194440e-4f), mul_add(n, splat(-0.693359375f), x));
  // (exp(r) - 1 - r) / r^2, of the smallest largest error, 3.3e-9 of exp(r), on |r| <= 0.35.
  Vector sum = splat(1.3813145e-3f);
  const float lower[] = {8.369419e-3f, 4.1668456e-2f, 0.16666515f, 0.49999994f};
  for (const float p : lower) sum = mul_add(sum, r, splat(p));
  const Vector value = splat(1.0f) + mul_add(sum * r, r, r);
  const Integers power = (reinterpret_cast<Integers>(shifted) - 0x4b400000 + 127) << 23;
  return value * reinterpret_cast<Vector>(power);
}

// log(1 + u) for u from 0 to 1, as 2 artanh(u / (2 + u)); right to 2.8e-7 of itself.
LONGSHORT_INLINE Vector log_one_plus(Vector u) {
  const Vector s = u / (splat(2.0f) + u), square = s * s;
  Vector sum = splat(0.1401223f);  // error below 4.6e-9
  const float lower[] = {0.13999571f, 0.2001085f, 0.33333206f};
  for (const float p : lower) sum = mul_add(sum, square, splat(p));
  return splat(2.0f) * mul_add(s * square, sum, s);
}

}  // namespace
