// Which rows of the batch are computed at each step, and in which order.
//
// A row that has ended, or has not begun, costs nothing: the rows are put in an order in which
// those of one step are the first ones, "places" 0..active(s)-1. With padding at the end the batch
// shrinks from step to step, with padding at the beginning it grows. Masked steps in between stay
// and are computed. What is saved for the backward pass has one entry a place and step, densely:
// entry(s, place) = first[s] + place.
#pragma once
#include <stdint.h>

#include "lstm.h"

namespace longshort {

struct Steps {
  const int64_t* first;   // (T + 1)
  const int32_t* row;     // (B) the caller's row at a place
  const int32_t* begin;   // (B) the steps computed at a place are begin..end-1
  const int32_t* end;     // (B)
  const int32_t* counts;  // (T + 2), from step -1 to step T

  int64_t active(int64_t s) const { return counts[s + 1]; }
  int64_t total(const longshort_lstm& a) const { return first[a.time]; }
};

// Floats of scratch that the arrays of `Steps` take.
int64_t steps_size(const longshort_lstm& a);
Steps make_steps(const longshort_lstm& a, float* scratch);

// Time index in x, mask, hs and dhs of processing step s.
static inline int64_t time_of(const longshort_lstm& a, int64_t s) {
  return a.reverse ? a.time - 1 - s : s;
}
static inline bool masked(const longshort_lstm& a, int64_t row, int64_t s) {
  return a.mask && !a.mask[row * a.time + time_of(a, s)];
}

}  // namespace longshort
