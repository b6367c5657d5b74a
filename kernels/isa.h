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

// A convolution over time: window t of x begins at frame t * stride - left, and what lies outside of x is
// zero. y_t = bias + sum over j and d of x_{t stride - left + j, d} kernel_{j, d}.
struct Convolution {
  int64_t batch, time, features;  // B, T, D
  int64_t width, stride, left;
  int64_t steps, channels;  // T', C
  const float* x;           // (B, T, D)
  const float* kernel;      // (width, D, C)
  const float* bias;        // (C)
  const float* dy;          // (B, T', C)
  float* y;                 // (B, T', C)
  float* dx;                // as x; of the three calls each writes its own
  float* dkernel;           // as kernel
  float* dbias;             // (C)
  int64_t depth() const { return width * features; }
};

// The largest value and the mean of each channel over the real steps of a row (kernels/pooling.h).
struct Pooling {
  int64_t steps, size;           // T, D
  const float* x;                // (B, T, D)
  const bool* mask;              // (B, T)
  float *largest, *mean, *ties;  // (B, D)
  const float *dlargest, *dmean;
  float* dx;
};

// Each step of a target reads a weighted mean of a source (kernels/attention.h).
struct Attention {
  int64_t target, source, width, size;        // T, S, A, D
  const float *query, *keys, *values;         // (B, T, A), (B, S, A), (B, S, D)
  const bool* mask;                           // (B, S)
  const float* v;                             // (A); null: scores are products of queries and keys
  float *context, *weights;                   // (B, T, D), (B, T, S)
  const float *dcontext, *dweights;           // of the gradients
  float *dquery, *dkeys, *dvalues, *dv_rows;  // dv for each row of the batch, (B, A)
};

// A dense layer over many rows (kernels/dense.h). A call writes y; or dx and dmore; or dW and db.
struct Dense {
  int64_t features, more_features, units;  // D, those of them that are in `more`, C
  int64_t count;            // rows of y, or those whose gradient is not zero
  const int64_t* real;      // which they are
  int32_t activation;       // as in lstm.h
  const float *x, *more;    // (n, D less what is in `more`), and the features behind those
  const float* weights;     // W, (D, C)
  const float* bias;        // (C), null: none
  const float *dy, *made;   // (n, C), and y for its gradient; null for a linear one
  float* y;                 // (n, C)
  float *dx, *dmore;        // as x and more, of which the rows in `real` are written
  float *dweights, *dbias;  // (D, C), (C)
};

// The numbers of a step of Adam; `clip`: the largest norm of all gradients, 0: any.
struct AdamStep {
  float rate, to_mean, to_square, epsilon, clip;
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
  // Of any of the three calls.
  int64_t (*convolution_scratch)(const Convolution&, int threads);
  void (*convolution)(const Convolution&, float* scratch, const Team&);
  void (*convolution_weights)(const Convolution&, float* scratch, const Team&);
  void (*convolution_input)(const Convolution&, float* scratch, const Team&);
  // Of a row.
  void (*pool_row)(const Pooling&, int64_t row);
  void (*pool_row_gradient)(const Pooling&, int64_t row);
  // Of y or dx, and of dW and db.
  int64_t (*dense_scratch)(const Dense&, int threads);
  void (*dense)(const Dense&, float* scratch, const Team&);
  int64_t (*dense_weights_scratch)(const Dense&, int threads);
  void (*dense_weights)(const Dense&, float* scratch, const Team&);
  // Of a row, with the scratch of all threads.
  int64_t (*attention_scratch)(const Attention&, int threads);
  void (*attend_row)(const Attention&, int64_t row, int thread, float* scratch);
  void (*attend_row_gradient)(const Attention&, int64_t row, int thread, float* scratch);
  // Of stretches of an array: `scale` is on the gradient.
  double (*sum_of_squares)(const float*, int64_t n);
  void (*adam)(const AdamStep&, float scale, int64_t n, const float* gradient, float* weights, float* mean,
               float* square);
  // One step of a stream: floats of `packed`, filling it, the step.
  int64_t (*step_size)(const longshort_step&);
  void (*pack_step)(const longshort_step&);
  void (*run_step)(const longshort_step&);
};

extern const Kernels kAmx, kAvx512Bf16, kAvx512, kAvx2, kNeon, kPortable;

// The set in use.
const Kernels& kernels();

}  // namespace longshort
