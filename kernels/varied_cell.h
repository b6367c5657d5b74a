// The cell of the LSTM's variants, forward and backward: one function for all options, which it asks
// about as it goes. They are the same for every row, so that the branches are predicted and cost
// little; a compiled copy for each combination would cost a thousand times the code.
#pragma once
#include "activations.h"
#include "noise.h"
#include "tile.h"

namespace {

inline bool varied(const longshort_lstm& a) {
  return a.cell || a.projection || a.norm_gain || a.coupled || a.activation || a.recurrent_activation || a.cell_clip != 0 || a.peephole ||
         a.zoneout_h != 0 || a.zoneout_c != 0 || (a.noise && a.update_dropout != 0);
}

// How the states of one step, of one block, stay what they were.
class Zoneout {
 public:
  Zoneout(const longshort_lstm& a, const Noise& noise, int64_t block)
      : a_(a), noise_(noise), unit_(block * kBlock) {}
  // How much of a state stays.
  Vector stays(Noise::Stream stream, int64_t row) const {
    const float rate = static_cast<float>(stream == Noise::kZoneoutH ? a_.zoneout_h : a_.zoneout_c);
    if (!a_.noise || rate == 0.0f) return splat(rate);
    return noise_.choose(stream, row, unit_, splat(1.0f), Vector{});
  }
  Vector state(Noise::Stream stream, int64_t row, Vector before, Vector now) const {
    const Vector part = stays(stream, row);
    return part * before + (splat(1.0f) - part) * now;
  }
  // The factors of update dropout.
  Vector kept_update(int64_t row) const {
    if (!noise_.drops(Noise::kUpdate)) return splat(1.0f);
    const float scale = static_cast<float>(1.0 / (1.0 - a_.update_dropout));
    return noise_.choose(Noise::kUpdate, row, unit_, Vector{}, splat(scale));
  }

 private:
  const longshort_lstm& a_;
  const Noise& noise_;  // of the step
  const int64_t unit_;
};

// The cell: what is the same for all rows at one step, for one block of units.
class VariedCell {
 public:
  VariedCell(const longshort_lstm& a, const Noise& noise, int64_t block)
      : a_(a), noise_(a, noise, block) {
    const int64_t H = a.units, unit = block * kBlock;
    for (int n = 0; n < 3; ++n)
      peephole_[n] = a.peephole ? load_n(a.peephole + n * H + unit, H - unit) : Vector{};
  }

  // From z to the gates and c after zoneout; h is c before it.
  Cell forward(int64_t row, const float* z, Vector c_prev) const {
    Cell cell;
    cell.f = gate(load(z + kBlock), peephole_[1], c_prev);
    cell.i = a_.coupled ? splat(1.0f) - cell.f : gate(load(z), peephole_[0], c_prev);
    cell.g = activate(a_.activation, load(z + 2 * kBlock));
    cell.h = clip(mul_add(cell.f, c_prev, cell.i * (cell.g * noise_.kept_update(row))));
    cell.o = gate(load(z + 3 * kBlock), peephole_[2], cell.h);
    cell.c = noise_.state(Noise::kZoneoutC, row, c_prev, cell.h);
    return cell;
  }
  // o A(c); c is normalised where there is layer norm.
  Vector out(Vector o, Vector c) const { return o * activate(a_.activation, c); }

  // A step seen again in the backward pass, from the gates as saved.
  struct Past {
    Cell cell;
    Vector c_prev, factor, unclipped, c;  // factor: of update dropout; c: before zoneout
  };
  Past recall(int64_t row, const Cell& cell, Vector c_prev) const {
    const Vector factor = noise_.kept_update(row);
    const Vector unclipped = mul_add(cell.f, c_prev, cell.i * (cell.g * factor));
    return Past{cell, c_prev, factor, unclipped, clip(unclipped)};
  }
  // From the gradient of o A(c) to those of z_o and of the c in it.
  void out_backward(const Cell& cell, Vector c, Vector dout, Vector& dz, Vector& dc) const {
    const Vector out = activate(a_.activation, c);
    dz = dout * out * gate_slope(a_.recurrent_activation, cell.o);
    dc = dout * cell.o * activation_slope(a_.activation, out);
  }
  struct Gradient {
    Vector z[4], peephole[3], c;  // c: of the one before
  };
  // From the gradients of z_o, of c before zoneout (by way of h) and after it.
  Gradient backward(int64_t row, const Past& past, Vector dz, Vector dc_out, Vector dc) const {
    const Vector one = splat(1.0f), c_prev = past.c_prev;
    const Vector stays = noise_.stays(Noise::kZoneoutC, row);
    Gradient d;
    d.c = dc * stays;
    dc *= one - stays;
    d.z[3] = dz;
    dc = mul_add(dz, peephole_[2], dc + dc_out);
    if (a_.cell_clip != 0) dc = absolute(past.unclipped) <= splat(a_.cell_clip) ? dc : Vector{};
    const Cell& cell = past.cell;
    const Vector df = dc * c_prev, di = dc * cell.g * past.factor;
    d.z[0] = a_.coupled ? Vector{} : di * gate_slope(a_.recurrent_activation, cell.i);
    d.z[1] = (a_.coupled ? df - di : df) * gate_slope(a_.recurrent_activation, cell.f);
    d.z[2] = dc * cell.i * past.factor * activation_slope(a_.activation, cell.g);
    d.c += mul_add(d.z[0], peephole_[0], mul_add(d.z[1], peephole_[1], dc * cell.f));
    d.peephole[0] = d.z[0] * c_prev;
    d.peephole[1] = d.z[1] * c_prev;
    d.peephole[2] = d.z[3] * past.c;
    return d;
  }

 private:
  Vector gate(Vector z, Vector weight, Vector c) const {
    return activate_gate(a_.recurrent_activation, mul_add(weight, c, z));
  }
  Vector clip(Vector c) const {
    return a_.cell_clip != 0 ? clamp(c, -a_.cell_clip, a_.cell_clip) : c;
  }

  const longshort_lstm& a_;
  const Zoneout noise_;
  Vector peephole_[3];
};

}  // namespace
