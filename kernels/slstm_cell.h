// The sLSTM's cell (Beck et al. 2024, sections 2.2 and A.2), forward and backward. Its states are c, n
// and m, where c and n are divided by exp(m): so far as h goes, m could be any number.
#pragma once
#include "activations.h"
#include "exponentials.h"
#include "tile.h"

namespace {

class SLSTMCell {
 public:
  explicit SLSTMCell(const longshort_lstm& a) : exp_forget_(a.exp_forget) {}

  struct States {
    Vector c, n, m;
  };
  // What a step makes. Of the gates i is exp(z_i - m), and in place of f is the slope of log f, since
  // what f does to the states is `kept`: exp(k - m).
  struct Step {
    Cell cell;  // its c and h
    Vector n, m, kept;
  };
  Step forward(const float* sums, const States& before) const {
    const Vector one = splat(1.0f);
    const Vector z_i = load(sums), z_f = load(sums + kBlock);
    Vector log_f = z_f, slope = one;
    if (!exp_forget_) {
      const Vector small = exp_negative(-absolute(z_f));
      log_f = (z_f < Vector{} ? z_f : Vector{}) - log_one_plus(small);
      slope = (z_f < Vector{} ? one : small) / (one + small);
    }
    const Vector k = before.n == Vector{} ? z_i : log_f + before.m;
    const Vector less = exp_negative(-absolute(k - z_i));
    Step step;
    step.m = k > z_i ? k : z_i;
    step.kept = k > z_i ? one : less;
    step.cell.i = k > z_i ? less : one;
    step.cell.f = slope;
    step.cell.g = tanh(load(sums + 2 * kBlock));
    step.cell.o = sigmoid(load(sums + 3 * kBlock));
    step.cell.c = mul_add(step.kept, before.c, step.cell.i * step.cell.g);
    step.n = mul_add(step.kept, before.n, step.cell.i);
    step.cell.h = step.cell.o * step.cell.c / step.n;
    return step;
  }

  // The gradients of c and n, and of m while c exp(m) and n exp(m) stay what they are. That one is 0
  // wherever h is all that is used, and no sum of large numbers that should cancel.
  struct Gradient {
    Vector z[4];
    States states;
  };
  Gradient backward(const Step& step, const States& before, Vector dh, States d) const {
    const Vector one = splat(1.0f), zero = Vector{};
    const Cell& cell = step.cell;
    const Vector ratio = cell.c / step.n, share = dh * cell.o / step.n;
    const Vector dc = d.c + share, dn = mul_add(-share, ratio, d.n);
    const Vector di = mul_add(dc, cell.g, dn) * cell.i;
    const Vector dk = mul_add(dc, before.c, dn * before.n) * step.kept;
    const auto empty = before.n == zero, from_kept = cell.i < one;  // whose exponent m is
    const Vector of_k = from_kept ? dk + d.m : dk;
    Gradient made;
    made.z[0] = di + (empty ? dk : zero) + (from_kept ? zero : d.m);
    made.z[1] = empty ? zero : of_k * cell.f;
    made.z[2] = dc * cell.i * mul_add(-cell.g, cell.g, one);
    made.z[3] = dh * ratio * cell.o * (one - cell.o);
    // What is empty weighs nothing, so that its m has no gradient at all.
    made.states = States{dc * step.kept, dn * step.kept,
                         empty ? -dk : from_kept ? d.m : zero};
    return made;
  }

 private:
  const bool exp_forget_;
};

}  // namespace
