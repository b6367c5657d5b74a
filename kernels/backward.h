// Backward through time: dh = dz U^T in a register tile, the cell's derivative behind it.
#pragma once
#include "transposed.h"

namespace {

struct BackwardScratch {
  float* weights;  // packed U^T
  float* dc;       // (P, B, 16), the running gradient of c
  float* dh;       // (B, 16 P), the gradient of h at the step done last, for masked rows
  int64_t size;

  BackwardScratch(const longshort_lstm& a, float* data) {
    const int64_t P = blocks_of(a.units);
    const int64_t weights_size =
        longshort::cache_lines(transposed_size(a.units, a.units, a.h_dropout));
    weights = data;
    dc = data + weights_size;
    dh = dc + P * a.batch * kBlock;
    size = weights_size + 2 * P * a.batch * kBlock;
  }
};

// Derivative of the cell at step s for one row and kLanes units; dh is the whole gradient of h_s.
LONGSHORT_INLINE void cell_backward(const longshort_lstm& a, float* dc_running, int64_t s,
                                    int64_t b, int64_t block, int64_t lane, Vector dh) {
  const int64_t H = a.units, B = a.batch, T = a.time;
  const int64_t at = (block * T + s) * B + b;
  const int64_t unit = block * kBlock + lane;
  float* dz = a.dz + at * kTile + lane;
  if (unit >= H || masked(a, b, s)) {  // dz is a left factor: padding must be zero too
    for (int64_t g = 0; g < kGates; ++g) store(dz + g * kBlock, Vector{});
    return;
  }
  const float* gates = a.gates + at * kTile + lane;
  const Vector i = load(gates), f = load(gates + kBlock), g = load(gates + 2 * kBlock),
               o = load(gates + 3 * kBlock);
  const Vector one = splat(1.0f);
  Vector c_prev = {};
  if (s > 0) {
    c_prev = load(a.cells + (at - B) * kBlock + lane);
  } else if (a.c0) {
    c_prev = load_n(a.c0 + b * H + unit, H - unit);
  }
  const Vector tanh_c = tanh(load(a.cells + at * kBlock + lane));
  float* running = dc_running + (block * B + b) * kBlock + lane;
  const Vector dc = load(running) + dh * o * (one - tanh_c * tanh_c);
  store(dz, dc * g * i * (one - i));
  store(dz + kBlock, dc * c_prev * f * (one - f));
  store(dz + 2 * kBlock, dc * i * (one - g * g));
  store(dz + 3 * kBlock, dh * tanh_c * o * (one - o));
  store(running, dc * f);
}

// One tile of step s; s = -1 leaves the gradient towards h0.
template <bool Gated, int R, int N>
void backward_tile(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s, int64_t row,
                   int64_t block) {
  const int64_t H = a.units, B = a.batch, T = a.time, P = blocks_of(H);
  const float* weights = scratch.weights + block * kBlock * P * kTile * (Gated ? kGates : 1);
  const bool last = s == T - 1;
  for (int part = 0; part < kParts; ++part) {
    const int64_t lane = part * kLanes;
    Tile<R, N> recurrent = {};
    if (!last) {
      const int64_t unit = block * kBlock + lane;
      const float* factors = Gated ? a.h_dropout + row * H + unit : nullptr;
      transposed_tile<Gated>(recurrent, a.dz + ((s + 1) * B + row) * kTile, T * B * kTile, P,
                             weights + lane, factors, B * H, H, H - unit);
    }
    for (int r = 0; r < R; ++r) {
      const int64_t b = row + r;
      // What a masked step passes on unchanged; after the last step, the gradient of h_last.
      const bool passed = last || masked(a, b, s + 1);
      for (int n = 0; n < N; ++n) {
        const int64_t unit = (block + n) * kBlock + lane, width = H - unit;
        float* kept = scratch.dh + b * P * kBlock + unit;
        Vector dh = recurrent.sum[r][n];
        if (passed) dh += load(kept);
        if (s < 0) {
          if (width > 0) store_n(a.dh0 + b * H + unit, dh, width);
          continue;
        }
        if (a.dhs && width > 0) dh += load_n(a.dhs + (b * T + s) * H + unit, width);
        if (masked(a, b, s)) store(kept, dh);
        cell_backward(a, scratch.dc, s, b, block + n, lane, dh);
      }
    }
  }
}

inline void start_backward(const longshort_lstm& a, const BackwardScratch& scratch, Range rows,
                           Range blocks) {
  const int64_t B = a.batch, H = a.units, P = blocks_of(H);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      for (int64_t j = 0; j < kBlock; ++j) {
        const int64_t unit = block * kBlock + j;
        const bool real = unit < H;
        scratch.dc[(block * B + b) * kBlock + j] =
            a.dc_last && real ? a.dc_last[b * H + unit] : 0.0f;
        scratch.dh[b * P * kBlock + unit] = a.dh_last && real ? a.dh_last[b * H + unit] : 0.0f;
      }
    }
  }
}

// One thread's share of a backward call.
void backward(const longshort_lstm& a, const Plan& plan, float* data, const Team& team) {
  const int64_t B = a.batch, T = a.time, H = a.units, P = blocks_of(H);
  const BackwardScratch scratch(a, data);
  const bool gated = a.h_dropout != nullptr;
  const Range rows = plan.rows(a, team.index), blocks = plan.blocks(P, team.index);

  // Tiles lie one behind the other, in the order in which for_blocks goes over a thread's blocks.
  const auto pack = [&](int64_t block, auto width) {
    constexpr int64_t count = decltype(width)::count;
    if (gated) {
      for (int64_t n = 0; n < count; ++n)
        pack_transposed(a.recurrent, H, H, block + n, 1, true,
                        scratch.weights + (block + n) * kBlock * P * kTile * kGates);
    } else {
      pack_transposed(a.recurrent, H, H, block, count, false,
                      scratch.weights + block * kBlock * P * kTile);
    }
  };
  if (plan.by_rows) {
    int64_t turn = 0;
    for_blocks(blocks, [&](int64_t block, auto width) {
      if (turn++ % team.size == team.index) pack(block, width);
    });
  } else {
    for_blocks(blocks, pack);
  }
  start_backward(a, scratch, rows, blocks);
  team.wait();

  for (int64_t s = T - 1; s >= (a.dh0 ? -1 : 0); --s) {
    for_blocks(blocks, [&](int64_t block, auto width) {
      for_rows(rows, [&](int64_t row, auto height) {
        constexpr int R = decltype(height)::count, N = decltype(width)::count;
        if (gated) {
          for (int64_t n = 0; n < N; ++n) backward_tile<true, R, 1>(a, scratch, s, row, block + n);
        } else {
          backward_tile<false, R, N>(a, scratch, s, row, block);
        }
      });
    });
    if (!plan.by_rows) team.wait();
  }
  if (a.dc0) {
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int64_t unit = blocks.begin * kBlock; unit < smaller(blocks.end * kBlock, H); ++unit)
        a.dc0[b * H + unit] = scratch.dc[((unit / kBlock) * B + b) * kBlock + unit % kBlock];
  }
}

}  // namespace
