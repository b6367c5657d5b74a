// The kernels' C interface: one LSTM layer over a whole sequence, float32, on the CPU.
//
//   z_t = x_t W + h_{t-1} U + b        gates in z: i, f, c, o (Keras' order), H columns each
//   c_t = sigmoid(z_f) c_{t-1} + sigmoid(z_i) tanh(z_c)
//   h_t = sigmoid(z_o) tanh(c_t)       a masked step copies h and c from the step before
//
// and its variants, which compose freely: with s = t - 1, R and A the two activations,
//
//   i = R(z_i + p_i c_s), f = R(z_f + p_f c_s)     p: peephole weights (Gers and Schmidhuber 2000)
//   i = 1 - f                                      where coupled
//   g = A(z_c) keep / (1 - update_dropout)         keep: of the noise (Semeniuta et al. 2016)
//   c' = clip(f c_s + i g, -cell_clip, cell_clip)
//   o = R(z_o + p_o c'), h' = o A(c'), or (o A(c')) V with a projection V (Sak et al. 2014)
//   z = norm(x W) + norm(h_s U) + b, h' = o A(norm(c'))      with layer norm (Ba et al. 2016)
//   h_t, c_t: of h_s, c_s with the rates of zoneout (Krueger et al. 2017), else of h', c'
//
// And other cells, whose four columns lie in the same tile, with states of their own:
//
//   GRU (Cho et al. 2014): columns z, r, and what x and h add to the candidate; h is its only state
//     c_t = z c_s + (1 - z) A(z_x + r z_h), h_t = c_t         z, r = R(.)
//   sLSTM (Beck et al. 2024): columns i, f, c, o; beside c the normaliser n and the exponent m
//     k = log f + m_s, or z_i where n_s = 0                   log f: log sigmoid(z_f), or z_f
//     m_t = max(k, z_i)
//     c_t = exp(k - m_t) c_s + exp(z_i - m_t) tanh(z_c), n_t = exp(k - m_t) n_s + exp(z_i - m_t)
//     h_t = sigmoid(z_o) c_t / n_t
//
// Axes: B batch, T time, D features, H units, P outputs (the values of h), which is H without a
// projection; S states of the cell's own, 1 (c) or 3 (the sLSTM's c, n, m); 4 gates. Arrays are dense, row-major, float32
// unless said; "null" marks the pointers that may be null. Outputs are overwritten, never
// accumulated into, and alias nothing else. Inputs may alias each other.
//
// Step s = 0..T-1 is the order of processing: with `reverse`, step s is time T-1-s. x, mask, hs
// and dhs are in the order of time.
//
// A row's masked steps before its first and after its last real step are not computed, whichever
// the batch has more of; masked steps elsewhere are computed and dropped.
//
// `gates`, `cells` and `dz` are saved between the calls in a layout of the instruction set's own:
// only calls on the same one, with the same mask, may read them. Their sizes are upper bounds,
// for H rounded up to whole blocks of 16 units (H').
//
// Every function takes any number of layers that do not depend on each other (the two directions of
// a bidirectional layer, the heads of an sLSTM), which then run side by side. It returns null, or a sentence (static
// storage) that says what is wrong; allocates only from the library's own reused scratch memory,
// may be called from any number of threads at once, throws nothing, and gives bitwise the same
// result for any number of threads.
#pragma once
#include <stdint.h>

#define LONGSHORT_API __attribute__((visibility("default")))

#if defined(__cplusplus)
extern "C" {
#endif

enum longshort_activation { LONGSHORT_TANH, LONGSHORT_RELU, LONGSHORT_SOFTSIGN, LONGSHORT_LINEAR };
// hard: clip(z / 6 + 1 / 2, 0, 1).
enum longshort_recurrent_activation { LONGSHORT_SIGMOID, LONGSHORT_HARD_SIGMOID };
enum longshort_cell { LONGSHORT_LSTM, LONGSHORT_GRU, LONGSHORT_SLSTM };

struct longshort_lstm {
  int64_t batch, time, features, units, outputs;  // B, T, D, H, P
  int64_t hs_stride;  // floats from one step of hs and dhs to the next: P, or more where h is part
                      // of a wider array, such as the two directions' outputs side by side
  int32_t reverse;
  int32_t bfloat16;   // 1: the factors of products may be rounded to bfloat16, and are on the sets
                      // with instructions for it; sums, states, gates and all arrays are float32
  int32_t zero_masked;  // 1: hs is 0 at masked steps, and not a copy, and dhs there counts for nothing

  // Which cell. All that follows up to the inputs is the LSTM's own; the GRU has both activations.
  int32_t cell;        // longshort_cell
  int32_t exp_forget;  // of the sLSTM, 1: f = exp(z_f), not sigmoid(z_f)

  // The variant. All zero: the plain LSTM.
  int32_t coupled;               // 1: i = 1 - f; z_i is not used and its gradient is zero
  int32_t activation;            // longshort_activation
  int32_t recurrent_activation;  // longshort_recurrent_activation
  float cell_clip;               // c' is kept within [-cell_clip, cell_clip]; 0: it is not
  double zoneout_h, zoneout_c;   // rates from 0 to 1
  double update_dropout;         // rate from 0 to below 1; without noise nothing is dropped

  // Inputs of the layer.
  const float* x;          // (B, T, D)
  const float* kernel;     // (D, 4H)
  const float* recurrent;  // (P, 4H)
  const float* bias;       // (4H), null: zeros
  const uint8_t* mask;     // (B, T), 0 = skip the step, null: no step is skipped
  const float* h0;         // (B, P), null: zeros
  const float* c0;         // (S, B, H), null: zeros; the GRU's is h0
  const float* x_dropout;  // (4, B, D) factors on x, one set a gate, the same at every step; null: ones
  const float* h_dropout;  // (4, B, P) factors on h_{t-1} where it enters z; null: ones
  const float* peephole;   // (3, H) p_i, p_f, p_o; null: zeros
  const float* projection; // (H, P); null: none
  const float* norm_gain;  // (2, 4H) of x W, of h_s U; null: no layer norm. Statistics are those of all
                           // columns, but for i where it is coupled
  const float* norm_cell;  // (2, H) gain and bias of c'; null where norm_gain is
  const uint32_t* noise;   // (3) two words of the key and the steps before this call (noise.h); null:
                           // zoneout takes the rates' mean, nothing is dropped, as outside training

  // Forward: outputs. Weight gradient and backward read hs, gates, cells as saved.
  float* hs;      // (B, T, P) with hs_stride, h_t; null in inference when only the last state is wanted
  float* h_last;  // (B, P)
  float* c_last;  // (S, B, H)
  float* gates;   // 4 H' T B: i, f, A(z_c), o, or the other cells' like; null in inference
  float* cells;   // S H' T B: c_t, and the sLSTM's n_t and exp(k - m_t); null in inference
  float* products;    // 8 H' T B: x W and h_s U before they are normalised; null without layer norm and
                      // in inference
  float* statistics;  // (T B, 6): mean and 1 / deviation of x W, of h_s U, of c'; as products
  float* outs;    // (B, T, H): o A(c'), zeros where nothing is computed; null without a projection and
                  // in inference
  // What goes on inside, to look at, (B, T, H) each: i, f, A(z_c), o, zeros at masked steps, and c_t.
  // All or none, and not with gates and cells.
  float *trace_i, *trace_f, *trace_g, *trace_o, *trace_c;

  // Backward: gradients of the outputs, then what it returns.
  const float* dhs;      // (B, T, P) with hs_stride, null: zeros
  const float* dh_last;  // (B, P), null: zeros
  const float* dc_last;  // (S, B, H), null: zeros
  float* dz;             // 4 H' T B: gradient of z, with layer norm of h_s U; the next two functions read it
  float* dprojected;     // (B, T, P): gradient of h', zeros where nothing is computed; null without a
                         // projection, else the gradient of V is outs^T dprojected
  float* dh0;            // (B, P), null: not wanted
  float* dc0;            // (S, B, H), null: not wanted
  float* dpeephole;      // (3, H), null: not wanted
  float* dz_x;           // 4 H' T B: with layer norm the gradient of x W, else null, as are
  float* dnorm_gain;     // (2, 4H)
  float* dnorm_cell;     // (2, H)

  // Gradients of the parameters and of the input, each a call of its own so that a caller who
  // needs only one pays for one. With layer norm `backward` writes dbias, the input's gradient takes
  // dz_x as dz, and that of the weights takes both.
  float* dkernel;     // (D, 4H)
  float* drecurrent;  // (P, 4H)
  float* dbias;       // (4H), null: not wanted
  float* dx;          // (B, T, D)
};

// Reads the inputs; writes hs, h_last, c_last, gates, cells. gates and cells: both or neither;
// with them hs, and outs, products and statistics where the layer has them, must be there too.
LONGSHORT_API const char* longshort_lstm_forward(const struct longshort_lstm*, int count);
// Reads recurrent, mask, c0, h_dropout, peephole, projection, norm_gain, norm_cell, noise, gates,
// cells, products, statistics, dhs, dh_last, dc_last; writes dz, dprojected, dh0, dc0, dpeephole, dz_x,
// dnorm_gain, dnorm_cell, and dbias with layer norm.
LONGSHORT_API const char* longshort_lstm_backward(const struct longshort_lstm*, int count);
// Reads x, mask, h0, hs, dz, dz_x, the dropouts; writes dkernel, drecurrent, dbias.
LONGSHORT_API const char* longshort_lstm_weight_gradient(const struct longshort_lstm*, int count);
// Reads kernel, mask, dz, x_dropout; writes dx.
LONGSHORT_API const char* longshort_lstm_input_gradient(const struct longshort_lstm*, int count);

// The mean cross-entropy of a softmax over many tokens, nats, and its gradients: z = y W' + b, and of
// each row - (1 - share) log p(target) - share / V sum over all tokens of log p.
struct longshort_token_loss {
  int64_t rows, size, tokens;  // n, E, V
  int32_t by_values;           // whether W and its gradient are (E, V) instead of (V, E)
  int32_t bfloat16;            // as above
  float share;                 // 0 to 1
  const float* y;              // (n, E)
  const float* weights;        // W
  const float* bias;           // (V)
  const int32_t* targets;      // (n), 1 to V - 1; 0 is padding: such a row counts for nothing and costs nothing
  float* loss;                 // (1), 0 where all is padding
  float* dy;                   // (n, E)
  float* dweights;             // as W
  float* dbias;                // (V)
};
LONGSHORT_API const char* longshort_token_loss_run(const struct longshort_token_loss*);

// One layer, one step at a time, for streams: no allocation, one thread, no framework.
struct longshort_step {
  int64_t batch, features, units;
  const float* kernel;     // (D, 4H)
  const float* recurrent;  // (H, 4H)
  const float* bias;       // (4H), null: zeros
  const float* x;          // (B, D)
  float* h;                // (B, H) in and out
  float* c;                // (B, H) in and out
  float* packed;           // longshort_step_size floats, 64-byte aligned
  const void* set;         // written by longshort_step_pack: the instruction set of `packed`
};
// Floats that `packed` needs.
LONGSHORT_API int64_t longshort_step_size(const struct longshort_step*);
// Reads kernel, recurrent, bias; fills `packed`. Once, and after each change of the weights.
LONGSHORT_API const char* longshort_step_pack(struct longshort_step*);
// h, c <- the states after x. Calls on the same struct must not overlap.
LONGSHORT_API const char* longshort_step_run(const struct longshort_step*);

// The instruction set in use: "amx", "avx512_bf16", "avx512", "avx2", "neon"
// or "portable".
LONGSHORT_API const char* longshort_isa(void);
// Choose one by name for all later calls; null restores the best. Fails where the CPU lacks it.
LONGSHORT_API const char* longshort_set_isa(const char* name);
// Threads used by a call at most; at first the CPUs this process may use.
LONGSHORT_API int longshort_num_threads(void);
LONGSHORT_API const char* longshort_set_num_threads(int n);

#if defined(__cplusplus)
}  // extern "C"
#endif
