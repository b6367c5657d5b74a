// The GRU with its reset after the product (Cho et al. 2014; cuDNN's form), forward and backward. Its
// columns are z, r, what x adds to the candidate and what h adds to it, which r scales.
#pragma once
#include "activations.h"
#include "tile.h"

namespace {

class GRUCell {
 public:
  explicit GRUCell(const longshort_lstm& a)
      : activation_(a.activation), recurrent_activation_(a.recurrent_activation) {}

  // From the tile's sums to z, r, the candidate and h's part of it, and the new h, which is c too.
  Cell forward(const float* sums, Vector h) const {
    Cell cell;
    cell.i = activate_gate(recurrent_activation_, load(sums));
    cell.f = activate_gate(recurrent_activation_, load(sums + kBlock));
    cell.o = load(sums + 3 * kBlock);
    cell.g = activate(activation_, mul_add(cell.f, cell.o, load(sums + 2 * kBlock)));
    cell.h = cell.c = mul_add(cell.i, h - cell.g, cell.g);
    return cell;
  }

  // From the gradient of the new h to those of the columns; of h itself z dh goes back.
  void backward(const Cell& cell, Vector h, Vector dh, Vector (&dz)[4]) const {
    dz[0] = dh * (h - cell.g) * gate_slope(recurrent_activation_, cell.i);
    dz[2] = mul_add(-dh, cell.i, dh) * activation_slope(activation_, cell.g);
    dz[1] = dz[2] * cell.o * gate_slope(recurrent_activation_, cell.f);
    dz[3] = dz[2] * cell.f;
  }

 private:
  const int32_t activation_, recurrent_activation_;
};

}  // namespace
