// Forward: both products of a step, the gates and the cell in one register tile.
#pragma once
#include "pool.h"
#include "tile.h"

namespace {

using longshort::blocks_of;
using longshort::Plan;
using longshort::Range;
using longshort::smaller;
using longshort::Team;

// Time index in x and mask of processing step s.
inline int64_t time_of(const longshort_lstm& a, int64_t s) {
  return a.reverse ? a.time - 1 - s : s;
}
inline bool masked(const longshort_lstm& a, int64_t row, int64_t s) {
  return a.mask && !a.mask[row * a.time + time_of(a, s)];
}
inline bool gated(const longshort_lstm& a) { return a.x_dropout || a.h_dropout; }

// Scratch of one forward call, and its size when data is null.
struct ForwardScratch {
  float* weights;  // (P, D + H, 64)
  float* bias;     // (P, 64)
  float* cells;    // (P, B, 16), the running c
  float* states;   // (2, B, H), the running h where hs is not kept
  float* dropped;  // (2, 4, B, H), h times h_dropout, or null
  float* inputs;   // (threads, 4, B, D), x times x_dropout, or null
  int64_t size;

  ForwardScratch(const longshort_lstm& a, int threads, float* data) {
    const int64_t P = blocks_of(a.units);
    int64_t used = 0;
    auto take = [&](int64_t floats) {
      float* p = data ? data + used : nullptr;
      used += longshort::cache_lines(floats);
      return floats ? p : nullptr;
    };
    weights = take(P * (a.features + a.units) * kTile);
    bias = take(P * kTile);
    cells = take(P * a.batch * kBlock);
    states = take(a.hs ? 0 : 2 * a.batch * a.units);
    dropped = take(a.h_dropout ? 2 * kGates * a.batch * a.units : 0);
    inputs = take(a.x_dropout ? threads * kGates * a.batch * a.features : 0);
    size = used;
  }
};

// What one step reads and writes, the same for all its tiles.
struct ForwardStep {
  const longshort_lstm& a;
  const ForwardScratch& scratch;
  int64_t s;
  Left x, h;            // left factors, row 0
  const float* h_prev;  // h_{t-1} without dropout, null: zeros
  int64_t h_prev_stride;
  float* h_next;
  int64_t h_next_stride;
  float* dropped_next;  // (4, B, H) or null
};

template <bool Gated, int R>
void forward_tile(const ForwardStep& step, int64_t row, int64_t block) {
  const longshort_lstm& a = step.a;
  const int64_t D = a.features, H = a.units, B = a.batch, T = a.time;
  const float* weights = step.scratch.weights + block * (D + H) * kTile;
  const bool has_h = step.h.data != nullptr;
  for (int part = 0; part < kParts; ++part) {
    const int64_t lane = part * kLanes;
    Tile<R, 4> z;
    for (int g = 0; g < 4; ++g) {
      const Vector bias = load(step.scratch.bias + block * kTile + g * kBlock + lane);
      for (int r = 0; r < R; ++r) z.sum[r][g] = bias;
    }
    multiply<Gated>(z, step.x.at(row), weights + lane, D);
    if (has_h) multiply<Gated>(z, step.h.at(row), weights + D * kTile + lane, H);

    const int64_t unit = block * kBlock + lane;
    const int64_t width = H - unit;  // at most this many lanes are real units
    if (width <= 0) break;
    for (int r = 0; r < R; ++r) {
      const int64_t b = row + r;
      const Vector i = sigmoid(z.sum[r][0]);
      const Vector f = sigmoid(z.sum[r][1]);
      const Vector g = tanh(z.sum[r][2]);
      const Vector o = sigmoid(z.sum[r][3]);
      float* cell = step.scratch.cells + (block * B + b) * kBlock + lane;
      Vector c = f * load(cell) + i * g;
      Vector h = o * tanh(c);
      if (masked(a, b, step.s)) {
        c = load(cell);
        h = step.h_prev ? load_n(step.h_prev + b * step.h_prev_stride + unit, width) : Vector{};
      }
      store(cell, c);
      store_n(step.h_next + b * step.h_next_stride + unit, h, width);
      if (a.gates) {
        const int64_t at = (block * T + step.s) * B + b;
        float* gates = a.gates + at * kTile + lane;
        store(gates, i);
        store(gates + kBlock, f);
        store(gates + 2 * kBlock, g);
        store(gates + 3 * kBlock, o);
        store(a.cells + at * kBlock + lane, c);
      }
      if (step.dropped_next) {
        for (int64_t gate = 0; gate < kGates; ++gate) {
          const int64_t at = (gate * B + b) * H + unit;
          store_n(step.dropped_next + at, h * load_n(a.h_dropout + at, width), width);
        }
      }
    }
  }
}

// Sets cells and dropped to the initial state, for the given rows and blocks.
inline void start_forward(const longshort_lstm& a, const ForwardScratch& scratch, Range rows,
                          Range blocks) {
  const int64_t B = a.batch, H = a.units;
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      for (int64_t j = 0; j < kBlock; ++j) {
        const int64_t unit = block * kBlock + j;
        const bool real = unit < H;
        scratch.cells[(block * B + b) * kBlock + j] = a.c0 && real ? a.c0[b * H + unit] : 0.0f;
        if (scratch.dropped && a.h0 && real) {
          for (int64_t g = 0; g < kGates; ++g) {
            const int64_t at = (g * B + b) * H + unit;
            scratch.dropped[at] = a.h0[b * H + unit] * a.h_dropout[at];
          }
        }
      }
    }
  }
}

inline void finish_forward(const longshort_lstm& a, const ForwardScratch& scratch,
                           const float* last, int64_t last_stride, Range rows, Range blocks) {
  const int64_t B = a.batch, H = a.units;
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int64_t unit = block * kBlock, width = smaller(kBlock, H - unit);
      const float* cell = scratch.cells + (block * B + b) * kBlock;
      for (int64_t j = 0; j < width; ++j) {
        a.c_last[b * H + unit + j] = cell[j];
        a.h_last[b * H + unit + j] = last ? last[b * last_stride + unit + j] : 0.0f;
      }
    }
  }
}

// One thread's share of a forward call. The first step with no h0 has no recurrent product.
void forward(const longshort_lstm& a, const Plan& plan, float* data, const Team& team) {
  const int64_t B = a.batch, T = a.time, D = a.features, H = a.units, P = blocks_of(H);
  const ForwardScratch scratch(a, plan.threads, data);
  for (int64_t block = team.index; block < P; block += team.size) {
    float* panel = scratch.weights + block * (D + H) * kTile;
    pack_gates(a.kernel, D, H, block, panel);
    pack_gates(a.recurrent, H, H, block, panel + D * kTile);
    if (a.bias) {
      pack_gates(a.bias, 1, H, block, scratch.bias + block * kTile);
    } else {
      memset(scratch.bias + block * kTile, 0, kTile * sizeof(float));
    }
  }
  const Range rows = plan.rows(a, team.index), blocks = plan.blocks(P, team.index);
  start_forward(a, scratch, rows, blocks);
  team.wait();

  const float* h_prev = a.h0;
  int64_t h_prev_stride = H;
  for (int64_t s = 0; s < T; ++s) {
    float* h_next = a.hs ? a.hs + s * H : scratch.states + (s % 2) * B * H;
    const int64_t h_next_stride = a.hs ? T * H : H;
    Left x{a.x + time_of(a, s) * D, T * D, 1, 0};
    if (a.x_dropout) {
      float* inputs = scratch.inputs + team.index * kGates * B * D;
      for (int64_t g = 0; g < kGates; ++g)
        for (int64_t b = rows.begin; b < rows.end; ++b)
          for (int64_t d = 0; d < D; ++d)
            inputs[(g * B + b) * D + d] = x.data[b * T * D + d] * a.x_dropout[(g * B + b) * D + d];
      x = Left{inputs, D, 1, B * D};
    }
    Left h{h_prev, h_prev_stride, 1, 0};
    float* dropped_next = nullptr;
    if (a.h_dropout) {
      if (h_prev) h = Left{scratch.dropped + (s % 2) * kGates * B * H, H, 1, B * H};
      dropped_next = scratch.dropped + ((s + 1) % 2) * kGates * B * H;
    }
    const ForwardStep step{a, scratch, s, x, h, h_prev, h_prev_stride, h_next, h_next_stride,
                           dropped_next};
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      for_rows(rows, [&](int64_t row, auto height) {
        if (gated(a)) {
          forward_tile<true, decltype(height)::count>(step, row, block);
        } else {
          forward_tile<false, decltype(height)::count>(step, row, block);
        }
      });
    }
    if (!plan.by_rows) team.wait();
    h_prev = h_next;
    h_prev_stride = h_next_stride;
  }
  finish_forward(a, scratch, h_prev, h_prev_stride, rows, blocks);
}

}  // namespace
