// Compiled once for each instruction set with LONGSHORT_ISA, LONGSHORT_LANES and LONGSHORT_ROWS
// set. Includes no standard C++ header: an inline function of one, compiled here with AVX-512,
// could be the copy that the linker keeps for everybody.
#include "isa.h"

#include "adam.h"
#include "attention.h"
#include "backward.h"
#include "convolution.h"
#include "dense.h"
#include "forward.h"
#include "input_gradient.h"
#include "pooling.h"
#include "single_step.h"
#include "token_loss.h"
#include "weight_gradient.h"

namespace {

int64_t forward_scratch(const longshort_lstm& a, const longshort::Plan& plan) {
  return ForwardScratch(a, plan, Steps{}, nullptr).size;
}
int64_t weight_gradient_scratch(const longshort_lstm& a, int threads) {
  return WeightScratch(a, threads, threads - 1, nullptr).size;
}
int64_t input_gradient_scratch(const longshort_lstm& a, int threads) {
  return InputScratch(a, threads - 1, nullptr).size;
}
int64_t backward_scratch(const longshort_lstm& a) {
  return BackwardScratch(a, Steps{}, nullptr).size;
}

#define LONGSHORT_NAME_OF(x) #x
#define LONGSHORT_NAME(x) LONGSHORT_NAME_OF(x)

}  // namespace

namespace longshort {

bool LONGSHORT_SUPPORTED();

extern const Kernels LONGSHORT_TABLE = {
    LONGSHORT_NAME(LONGSHORT_ISA), LONGSHORT_SUPPORTED,
    ::forward_scratch,             ::forward,
    ::backward_scratch,            ::backward,
    ::weight_gradient_scratch,     ::weight_gradient,
    ::input_gradient_scratch,      ::input_gradient,
    ::token_loss_scratch,          ::token_loss,
    ::convolution_scratch,         ::convolution,
    ::convolution_weights,         ::convolution_input,
    ::pool_row,                    ::pool_row_gradient,
    ::dense_scratch,               ::dense,
    ::dense_weights_scratch,       ::dense_weights,
    ::attention_scratch,           ::attend_row,
    ::attend_row_gradient,
    ::sum_of_squares,              ::adam,
    ::step_size,                   ::pack_step,
    ::run_step,
};

}  // namespace longshort
