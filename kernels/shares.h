// What a thread has to do of a call, and what stands where nothing is computed.
#pragma once
#include "cell_forward.h"

namespace {

// Of one array at all steps of a row that are not computed, those before its first and after its last
// one: a copy of `value`, zeros without one.
inline void fill_skipped(const longshort_lstm& a, float* array, int64_t stride, int64_t row,
                         Range steps, int64_t width, const float* value) {
  for (int64_t s = steps.begin; s < steps.end; ++s) {
    float* out = array + (row * a.time + time_of(a, s)) * stride;
    if (value) {
      memcpy(out, value, width * sizeof(float));
    } else {
      memset(out, 0, width * sizeof(float));
    }
  }
}

// Some blocks of units, whose c a thread keeps, and of outputs, whose h.
struct Shares {
  Range cells, states;
  Shares(const longshort_lstm& a, const Plan& plan, int thread)
      : cells(plan.blocks(blocks_of(a.units), thread)),
        states(plan.blocks(blocks_of(a.outputs), thread)) {}
};

}  // namespace
