// The kernels' C interface: one LSTM layer over a whole sequence, float32, on the CPU.
//
//   z_t = x_t W + h_{t-1} U + b        gates in z: i, f, c, o (Keras' order), H columns each
//   c_t = sigmoid(z_f) c_{t-1} + sigmoid(z_i) tanh(z_c)
//   h_t = sigmoid(z_o) tanh(c_t)       a masked step copies h and c from the step before
//
// Axes: B batch, T time, D features, H units, G = 4 gates. Arrays are dense, row-major, float32
// unless said; "null" marks the pointers that may be null. Outputs are overwritten, never
// accumulated into, and alias nothing else. Inputs may alias each other.
//
// Step s = 0..T-1 is the order of processing: it reads x and mask at time s, or at T-1-s when
// `reverse` is set; `hs`, `dhs` and everything saved are in the order of processing.
//
// Saved for the backward pass in a layout of our own, the same for every instruction set: units
// in blocks of 16, P = ceil(H / 16) blocks; `gates` is (P, T, B, 4, 16), `cells` (P, T, B, 16).
// 16 is one AVX-512 register; 4 x 16 columns are one register tile, so a tile holds all four
// gates of its units and the cell can be computed before anything is written.
//
// Every function returns null, or a sentence (static storage) that says what is wrong. They
// allocate only from the library's own reused scratch memory, may be called from any number of
// threads at once, throw nothing, and give bitwise the same result for any number of threads.
#pragma once
#include <stdint.h>

#define LONGSHORT_API __attribute__((visibility("default")))

#if defined(__cplusplus)
extern "C" {
#endif

struct longshort_lstm {
  int64_t batch, time, features, units;  // B, T, D, H
  int32_t reverse;

  // Inputs of the layer.
  const float* x;          // (B, T, D)
  const float* kernel;     // (D, 4H)
  const float* recurrent;  // (H, 4H)
  const float* bias;       // (4H), null: zeros
  const uint8_t* mask;     // (B, T), 0 = skip the step, null: no step is skipped
  const float* h0;         // (B, H), null: zeros
  const float* c0;         // (B, H), null: zeros
  const float* x_dropout;  // (4, B, D) factors on x, one set a gate, the same at every step; null: ones
  const float* h_dropout;  // (4, B, H) factors on h_{t-1} where it enters z; null: ones

  // Forward: outputs. Weight gradient and backward read hs, gates, cells as saved.
  float* hs;      // (B, T, H) h_t; null in inference when only the last state is wanted
  float* h_last;  // (B, H)
  float* c_last;  // (B, H)
  float* gates;   // (P, T, B, 4, 16) i, f, tanh(z_c), o; null in inference
  float* cells;   // (P, T, B, 16) c_t; null in inference

  // Backward: gradients of the outputs, then what it returns.
  const float* dhs;      // (B, T, H), null: zeros
  const float* dh_last;  // (B, H), null: zeros
  const float* dc_last;  // (B, H), null: zeros
  float* dz;             // (P, T, B, 4, 16) gradient of z; the next two functions read it
  float* dh0;            // (B, H), null: not wanted
  float* dc0;            // (B, H), null: not wanted

  // Gradients of the parameters and of the input, each a call of its own so that a caller who
  // needs only one pays for one.
  float* dkernel;     // (D, 4H)
  float* drecurrent;  // (H, 4H)
  float* dbias;       // (4H), null: not wanted
  float* dx;          // (B, T, D)
};

// Reads the inputs; writes hs, h_last, c_last, gates, cells. gates and cells: both or neither;
// with them hs must be there too.
LONGSHORT_API const char* longshort_lstm_forward(const struct longshort_lstm*);
// Reads recurrent, mask, c0, h_dropout, gates, cells, dhs, dh_last, dc_last; writes dz, dh0, dc0.
LONGSHORT_API const char* longshort_lstm_backward(const struct longshort_lstm*);
// Reads x, h0, hs, dz, the dropouts; writes dkernel, drecurrent, dbias.
LONGSHORT_API const char* longshort_lstm_weight_gradient(const struct longshort_lstm*);
// Reads kernel, dz, x_dropout; writes dx.
LONGSHORT_API const char* longshort_lstm_input_gradient(const struct longshort_lstm*);

// The instruction set in use: "avx512", "avx2" or "portable".
LONGSHORT_API const char* longshort_isa(void);
// Choose one by name for all later calls; null restores the best. Fails where the CPU lacks it.
LONGSHORT_API const char* longshort_set_isa(const char* name);
// Threads used by a call at most; at first the CPUs this process may use.
LONGSHORT_API int longshort_num_threads(void);
LONGSHORT_API const char* longshort_set_num_threads(int n);
// Keep freed pages for reuse instead of returning them to the system (glibc's mallopt), for the
// whole process. XLA allocates every step's arrays anew; without this, page faults cost more than
// the arithmetic. Returns 1 where it took effect.
LONGSHORT_API int longshort_keep_pages(void);

#if defined(__cplusplus)
}  // extern "C"
#endif
