// One set of kernels for each instruction set, compiled from the same sources (isa.cpp).
#pragma once
#include "layout.h"
#include "pool.h"
#include "steps.h"

namespace longshort {

// What a call of longshort_token_loss is worked through by.
struct LossRows {
  const int64_t* real;  // the rows that are not padding
  int64_t count;        // how many there are
  int64_t portion;      // of them at a time, at most
  float bias_sum;       // of all tokens
};

struct Kernels {
  const char* name;
  bool (*supported)();
  // Floats of scratch for a call, then one thread's share of it.
  int64_t (*forward_scratch)(const longshort_lstm&, const Plan&);
  void (*forward)(const longshort_lstm&, const Plan&, const Steps&, float* scratch, const Team&);
  int64_t (*backward_scratch)(const longshort_lstm&);
  void (*backward)(const longshort_lstm&, const Plan&, const Steps&, float* scratch, const Team&);
  int64_t (*weight_gradient_scratch)(const longshort_lstm&, int threads);
  void (*weight_gradient)(const longshort_lstm&, const Steps&, float* scratch, const Team&);
  int64_t (*input_gradient_scratch)(const longshort_lstm&, int threads);
  void (*input_gradient)(const longshort_lstm&, const Steps&, float* scratch, const Team&);
  int64_t (*token_loss_scratch)(const longshort_token_loss&, const LossRows&, int threads);
  void (*token_loss)(const longshort_token_loss&, const LossRows&, float* scratch, const Team&);
  // One step of a stream: floats of `packed`, filling it, the step.
  int64_t (*step_size)(const longshort_step&);
  void (*pack_step)(const longshort_step&);
  void (*run_step)(const longshort_step&);
};

extern const Kernels kAmx, kAvx512Bf16, kAvx512, kAvx2, kNeon, kPortable;

// The set in use.
const Kernels& kernels();

}  // namespace longshort
