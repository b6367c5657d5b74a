// Backward through time: dh = dz U^T in a register tile, the cell's derivative behind it.
#pragma once
#include "projection.h"
#include "shares.h"
#include "transposed.h"

namespace {

struct BackwardScratch {
  const Steps& steps;
  const bool varied;  // whether the cell is a variant's
  float* weights;  // packed U^T, in float32 or in bfloat16
  float* dc;       // (blocks, B, kLanes) by places, the running gradient of c
  float* dh;       // (B, width) by places, the gradient of h that passes a step unchanged; its width
                   // is P in whole blocks
  float* rows;     // (2, B, blocks, 4, kLanes) by places, dz of the step done last and of this one;
                   // in bfloat16 (2, B, 4, padded H)
  float* peephole;    // (blocks, B, 3, kLanes) by places, the gradients of their weights, or null
  float* projected;   // (B, width) by places, the gradient of what was projected, or null
  float* projection;  // the packed weights that it is multiplied with, or null
  int64_t size;

  BackwardScratch(const longshort_lstm& a, const Steps& made, float* data)
      : steps(made), varied(::varied(a)) {
    const int64_t blocks = blocks_of(a.units), width = blocks_of(a.outputs) * kBlock;
    Taker taker{data, 0};
    weights = taker.take(rounds(a) ? halved(transposed_at(a.units, blocks_of(a.outputs)))
                                    : transposed_size(a.outputs, a.units, a.h_dropout));
    dc = taker.take(blocks * a.batch * kBlock);
    dh = taker.take(a.batch * width);
    rows = taker.take(rounds(a) ? halved(2 * a.batch * kGates * pad_depth(a.units))
                                 : 2 * blocks * a.batch * kTile);
    peephole = taker.take(a.dpeephole ? blocks * a.batch * 3 * kBlock : 0);
    projected = taker.take(a.projection ? a.batch * width : 0);
    projection = taker.take(a.projection ? a.outputs * blocks * kBlock : 0);
    size = taker.used;
  }
  float* rows_at(const longshort_lstm& a, int64_t s, int64_t place) const {
    return rows + (s % 2 * a.batch + place) * blocks_of(a.units) * kTile;
  }
  Bfloat16* weights16(const longshort_lstm& a, int64_t block) const {
    return reinterpret_cast<Bfloat16*>(weights) + transposed_at(a.units, block);
  }
  Bfloat16* rows16_at(const longshort_lstm& a, int64_t s, int64_t place) const {
    return reinterpret_cast<Bfloat16*>(rows) +
           (s % 2 * a.batch + place) * kGates * pad_depth(a.units);
  }
  float* dh_at(const longshort_lstm& a, int64_t place, int64_t block) const {
    return dh + (place * blocks_of(a.outputs) + block) * kBlock;
  }
  float* peephole_at(const longshort_lstm& a, int64_t place, int64_t block) const {
    return peephole + (block * a.batch + place) * 3 * kBlock;
  }
};

// Keeps dz of one gate, where the next step's product and the gradients of the weights read it.
LONGSHORT_INLINE void put_dz(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                             int64_t place, int64_t block, int64_t gate, Vector value) {
  const int64_t entry = scratch.steps.first[s] + place, total = scratch.steps.total(a);
  store(a.dz + (block * total + entry) * kTile + gate * kBlock, value);
  if (rounds(a)) {
    store_bfloat16(scratch.rows16_at(a, s, place) + gate * pad_depth(a.units) + block * kBlock,
                   value);
  } else {
    store(scratch.rows_at(a, s, place) + block * kTile + gate * kBlock, value);
  }
}

// c before step s of one place and block.
LONGSHORT_INLINE Vector cell_before(const longshort_lstm& a, const BackwardScratch& scratch,
                                    int64_t s, int64_t place, int64_t block) {
  const int64_t H = a.units, unit = block * kBlock;
  if (s > scratch.steps.begin[place]) {
    const int64_t before = scratch.steps.first[s - 1] + place;
    return load(a.cells + (block * scratch.steps.total(a) + before) * kBlock);
  }
  return a.c0 ? load_n(a.c0 + scratch.steps.row[place] * H + unit, H - unit) : Vector{};
}

// The gradient of h at step s for one place and block, with that of hs.
LONGSHORT_INLINE Vector add_dhs(const longshort_lstm& a, int64_t row, int64_t s, int64_t block,
                                Vector dh) {
  if (!a.dhs) return dh;
  const int64_t unit = block * kBlock;
  const float* dhs = a.dhs + (row * a.time + time_of(a, s)) * a.hs_stride + unit;
  return dh + load_n(dhs, a.outputs - unit);
}

// Derivative of the cell at step s for one place and kLanes units; dh is the whole gradient of h.
LONGSHORT_INLINE void cell_backward(const longshort_lstm& a, const BackwardScratch& scratch,
                                    int64_t s, int64_t place, int64_t block, Vector dh) {
  const int64_t row = scratch.steps.row[place];
  const auto put = [&](int64_t gate, Vector value) {
    put_dz(a, scratch, s, place, block, gate, value);
  };
  dh = add_dhs(a, row, s, block, dh);
  if (masked(a, row, s)) {
    store(scratch.dh_at(a, place, block), dh);
    for (int64_t g = 0; g < kGates; ++g) put(g, Vector{});
    return;
  }
  const int64_t entry = block * scratch.steps.total(a) + scratch.steps.first[s] + place;
  const float* gates = a.gates + entry * kTile;
  const Vector i = load(gates), f = load(gates + kBlock), g = load(gates + 2 * kBlock),
               o = load(gates + 3 * kBlock);
  const Vector one = splat(1.0f);
  const Vector c_prev = cell_before(a, scratch, s, place, block);
  const Vector tanh_c = tanh(load(a.cells + entry * kBlock));
  float* running = scratch.dc + (block * a.batch + place) * kBlock;
  const Vector dc = mul_add(dh * o, mul_add(-tanh_c, tanh_c, one), load(running));
  put(0, dc * g * i * (one - i));
  put(1, dc * c_prev * f * (one - f));
  put(2, dc * i * mul_add(-g, g, one));
  put(3, dh * tanh_c * o * (one - o));
  store(running, dc * f);
}

// The same for the LSTM's variants; dout is the gradient of o A(c).
LONGSHORT_INLINE void varied_cell_backward(const longshort_lstm& a, const BackwardScratch& scratch,
                                           int64_t s, int64_t place, int64_t block, Vector dout) {
  const int64_t row = scratch.steps.row[place];
  if (masked(a, row, s)) {
    for (int64_t g = 0; g < kGates; ++g) put_dz(a, scratch, s, place, block, g, Vector{});
    return;
  }
  const int64_t entry = block * scratch.steps.total(a) + scratch.steps.first[s] + place;
  const float* gates = a.gates + entry * kTile;
  const Cell cell{load(gates), load(gates + kBlock), load(gates + 2 * kBlock),
                  load(gates + 3 * kBlock), {}, {}};
  float* running = scratch.dc + (block * a.batch + place) * kBlock;
  const Vector c_prev = cell_before(a, scratch, s, place, block);
  const auto d = VariedCell(a, s, block).backward(row, cell, c_prev, dout, load(running));
  for (int n = 0; n < 4; ++n) put_dz(a, scratch, s, place, block, n, d.z[n]);
  store(running, d.c);
  for (int n = 0; scratch.peephole && n < 3; ++n) {
    float* sum = scratch.peephole_at(a, place, block) + n * kBlock;
    store(sum, load(sum) + d.peephole[n]);
  }
}
// Its h: what passes the step unchanged is kept, the rest goes to the cell, or to the projection.
LONGSHORT_INLINE void varied_state_backward(const longshort_lstm& a, const BackwardScratch& scratch,
                                            int64_t s, int64_t place, int64_t block, Vector dh) {
  const int64_t P = a.outputs, row = scratch.steps.row[place];
  dh = add_dhs(a, row, s, block, dh);
  const Vector stays = masked(a, row, s) ? splat(1.0f)
                                         : Zoneout(a, s, block).stays(Noise::kZoneoutH, row);
  store(scratch.dh_at(a, place, block), dh * stays);
  dh *= splat(1.0f) - stays;
  if (!a.projection) return varied_cell_backward(a, scratch, s, place, block, dh);
  store(scratch.projected + (place * blocks_of(P) + block) * kBlock, dh);
  store_n(a.dprojected + (row * a.time + time_of(a, s)) * P + block * kBlock, dh,
          P - block * kBlock);
}

// Fetches what `cell_backward` will read and write, while the product before it runs.
LONGSHORT_INLINE void prefetch_cells(const longshort_lstm& a, const BackwardScratch& scratch,
                                     int64_t s, int64_t place, int64_t rows, int64_t block,
                                     int64_t blocks) {
  const int64_t total = scratch.steps.total(a);
  for (int64_t n = 0; n < blocks; ++n) {
    const int64_t entry = (block + n) * total + scratch.steps.first[s] + place;
    prefetch<false>(a.gates + entry * kTile, rows * kTile);
    prefetch<false>(a.cells + entry * kBlock, rows * kBlock);
    if (s > 0) prefetch<false>(a.cells + (entry - scratch.steps.active(s - 1)) * kBlock, rows * kBlock);
    prefetch<true>(a.dz + entry * kTile, rows * kTile);
  }
}

// A row's last step: what arrives is the gradient of h_last and of what was copied from it.
inline void first_of_row(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                         int64_t place, int64_t block) {
  const Vector dh = load(scratch.dh_at(a, place, block));
  if (scratch.varied) {
    varied_state_backward(a, scratch, s, place, block, dh);
  } else {
    cell_backward(a, scratch, s, place, block, dh);
  }
}

// What to do with the product of dz of step s + 1: the gradient of h at s, or, before a row's first
// step (`leaves`), of h0. What a masked step, or zoneout, has passed on is part of it.
template <bool Varied = false>
LONGSHORT_INLINE void pass_backward(const longshort_lstm& a, const BackwardScratch& scratch,
                                    int64_t s, int64_t place, int64_t block, Vector dh,
                                    bool leaves) {
  float* kept = scratch.dh_at(a, place, block);
  if (Varied || masked(a, scratch.steps.row[place], s + 1)) dh += load(kept);
  if (leaves) {
    store(kept, dh);
  } else if (Varied) {
    varied_state_backward(a, scratch, s, place, block, dh);
  } else {
    cell_backward(a, scratch, s, place, block, dh);
  }
}

// The same for the LSTM's variants, for some places and blocks, from products (places, stride).
__attribute__((noinline)) inline void pass_varied(const longshort_lstm& a,
                                                  const BackwardScratch& scratch, int64_t s,
                                                  Range places, Range blocks, const float* products,
                                                  int64_t stride, bool leaves) {
  for (int64_t block = blocks.begin; block < blocks.end; ++block)
    for (int64_t place = places.begin; place < places.end; ++place)
      pass_backward<true>(a, scratch, s, place, block,
                          load(products + (place - places.begin) * stride +
                               (block - blocks.begin) * kBlock),
                          leaves);
}

// From the gradient of what was projected to that of the cell, for some places and blocks.
__attribute__((noinline)) inline void pass_projected(const longshort_lstm& a,
                                                     const BackwardScratch& scratch, int64_t s,
                                                     Range places, Range blocks, const float* sums,
                                                     int64_t stride) {
  for (int64_t block = blocks.begin; block < blocks.end; ++block)
    for (int64_t place = places.begin; place < places.end; ++place)
      varied_cell_backward(a, scratch, s, place, block,
                           load(sums + (place - places.begin) * stride +
                                (block - blocks.begin) * kBlock));
}
inline void project_backward(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                             Range places, Range blocks) {
  project(scratch.projected, blocks_of(a.outputs) * kBlock, a.outputs, scratch.projection, places,
          blocks, [&](Range rows, Range columns, const float* sums, int64_t stride) {
            pass_projected(a, scratch, s, rows, columns, sums, stride);
          });
}

// The gradient of h of R places at step s, from dz of step s + 1.
template <bool Gated, int R, int N>
void backward_tile(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                   int64_t place, int64_t block, bool leaves) {
  const int64_t H = a.units, P = a.outputs, B = a.batch, unit = block * kBlock;
  if (!leaves && !a.projection) prefetch_cells(a, scratch, s, place, R, block, N);
  Factors<R> factors = {};
  for (int r = 0; Gated && r < R; ++r)
    factors.row[r] = a.h_dropout + scratch.steps.row[place + r] * P + unit;
  factors.gate = B * P;
  factors.width = P - unit;
  Tile<R, N> product;
  transposed_tile<Gated>(product, scratch.rows_at(a, s + 1, place), blocks_of(H) * kTile,
                         scratch.weights + transposed_at(H, block, Gated), factors);
  if (scratch.varied) {
    alignas(64) float products[R * N * kBlock];
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) store(products + (r * N + n) * kBlock, product.sum[r][n]);
    pass_varied(a, scratch, s, Range{place, place + R}, Range{block, block + N}, products,
                N * kBlock, leaves);
    return;
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n)
      pass_backward(a, scratch, s, place + r, block + n, product.sum[r][n], leaves);
}

// The same in bfloat16, for up to kGroup places and N blocks.
template <int N>
void backward_group(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                    Range places, int64_t block, bool leaves) {
  const int64_t P = a.outputs, B = a.batch, depth = pad_depth(a.units);
  if (!leaves && !a.projection) prefetch_cells(a, scratch, s, places.begin, places.size(), block, N);
  alignas(64) float sums[kGroup * kTile];
  Product product{scratch.rows16_at(a, s + 1, places.begin),
                  kGates * depth,
                  scratch.weights16(a, block),
                  N * kLanes * 2,
                  kGates * depth,
                  sums,
                  kTile,
                  false};
  if (!a.h_dropout) multiply<N>(product, places.size());
  for (int64_t n = 0; n < N; ++n) {
    const int64_t unit = (block + n) * kBlock;
    if (a.h_dropout) multiply_gates_apart(product, places.size(), n, depth);
    for (int64_t r = 0; r < places.size(); ++r) {
      const float* sum = sums + r * kTile;
      Vector dh = load(sum + n * kBlock);
      if (a.h_dropout) {
        const float* factors = a.h_dropout + scratch.steps.row[places.begin + r] * P + unit;
        dh = weigh_gates(sum, factors, B * P, P - unit);
      }
      if (scratch.varied) {
        store(sums + r * kTile + n * kBlock, dh);
      } else {
        pass_backward(a, scratch, s, places.begin + r, block + n, dh, leaves);
      }
    }
    if (scratch.varied)
      pass_varied(a, scratch, s, places, Range{block + n, block + n + 1}, sums + n * kBlock, kTile,
                  leaves);
  }
}

// The sum of dhs over steps whose h is a copy.
inline Vector sum_skipped(const longshort_lstm& a, int64_t row, Range steps, int64_t unit) {
  Vector sum = {};
  for (int64_t s = steps.begin; a.dhs && s < steps.end; ++s)
    sum += load_n(a.dhs + (row * a.time + time_of(a, s)) * a.hs_stride + unit, a.outputs - unit);
  return sum;
}

inline void start_backward(const longshort_lstm& a, const BackwardScratch& scratch, Range places,
                           const Shares& blocks) {
  const int64_t B = a.batch, H = a.units, P = a.outputs;
  for (int64_t place = places.begin; place < places.end; ++place) {
    const int64_t row = scratch.steps.row[place];
    for (int64_t block = blocks.states.begin; block < blocks.states.end; ++block) {
      const int64_t unit = block * kBlock;
      Vector dh = sum_skipped(a, row, Range{scratch.steps.end[place], a.time}, unit);
      if (a.dh_last) dh += load_n(a.dh_last + row * P + unit, P - unit);
      store(scratch.dh_at(a, place, block), dh);
    }
    for (int64_t block = blocks.cells.begin; block < blocks.cells.end; ++block) {
      const int64_t unit = block * kBlock;
      const Vector dc = a.dc_last ? load_n(a.dc_last + row * H + unit, H - unit) : Vector{};
      store(scratch.dc + (block * B + place) * kBlock, dc);
      for (int n = 0; scratch.peephole && n < 3; ++n)
        store(scratch.peephole_at(a, place, block) + n * kBlock, Vector{});
    }
    const bool last = blocks.cells.end == blocks_of(H);
    for (int64_t g = 0; rounds(a) && last && g < 2 * kGates; ++g) {  // padding, both buffers
      Bfloat16* rows = scratch.rows16_at(a, g / kGates, place) + g % kGates * pad_depth(H);
      for (int64_t u = blocks_of(H) * kBlock; u < pad_depth(H); ++u) rows[u] = 0;
    }
  }
}

inline void finish_backward(const longshort_lstm& a, const BackwardScratch& scratch, Range places,
                            const Shares& blocks) {
  const int64_t B = a.batch, H = a.units, P = a.outputs;
  for (int64_t place = places.begin; place < places.end; ++place) {
    const int64_t row = scratch.steps.row[place];
    const Range before{0, scratch.steps.begin[place]}, after{scratch.steps.end[place], a.time};
    for (int64_t block = blocks.states.begin; block < blocks.states.end; ++block) {
      const int64_t unit = block * kBlock, width = smaller(kBlock, P - unit);
      if (a.dh0) {
        const Vector skipped = sum_skipped(a, row, before, unit);
        store_n(a.dh0 + row * P + unit, load(scratch.dh_at(a, place, block)) + skipped, width);
      }
      if (a.dprojected) {
        fill_skipped(a, a.dprojected + unit, P, row, before, width, nullptr);
        fill_skipped(a, a.dprojected + unit, P, row, after, width, nullptr);
      }
    }
    for (int64_t block = blocks.cells.begin; a.dc0 && block < blocks.cells.end; ++block) {
      const int64_t unit = block * kBlock;
      store_n(a.dc0 + row * H + unit, load(scratch.dc + (block * B + place) * kBlock), H - unit);
    }
  }
}

// The gradients of the peephole weights: the places' sums, added up in their order.
inline void sum_peephole(const longshort_lstm& a, const BackwardScratch& scratch, int64_t block) {
  for (int64_t n = 0; n < 3; ++n) {
    Vector sum = {};
    for (int64_t place = 0; place < a.batch; ++place)
      sum += load(scratch.peephole_at(a, place, block) + n * kBlock);
    store_n(a.dpeephole + n * a.units + block * kBlock, sum, a.units - block * kBlock);
  }
}

// One thread's share of a backward call.
void backward(const longshort_lstm& a, const Plan& plan, const Steps& steps, float* data,
              const Team& team) {
  const int64_t B = a.batch, T = a.time, H = a.units, P = a.outputs;
  const BackwardScratch scratch(a, steps, data);
  const bool gated = a.h_dropout != nullptr;
  const Shares shares(a, plan, team.index);
  const Range blocks = shares.states;
  const auto for_own = [&](int64_t from, int64_t to, auto body) {
    for_own_places(a, plan, team.index, from, to, body);
  };
  int64_t turn = 0;
  const auto mine = [&] { return !plan.by_rows || turn++ % team.size == team.index; };
  if (rounds(a)) {
    for_blocks(blocks, [&](int64_t block, auto width) {
      if (mine())
        pack_transposed(a.recurrent, P, H, block, decltype(width)::count,
                        scratch.weights16(a, block));
    });
  } else {
    pack_tiles(a.recurrent, P, H, blocks, gated, scratch.weights, mine);
  }
  if (a.projection)
    pack_columns(a.projection, P, H, 1, P, shares.cells, scratch.projection, mine);
  for_own(0, B, [&](Range places) { start_backward(a, scratch, places, shares); });
  team.wait();

  for (int64_t s = T - 1; s >= (a.dh0 ? -1 : 0); --s) {
    const int64_t now = steps.active(s), after = steps.active(s + 1);
    const auto products = [&](int64_t from, int64_t to, bool leaves) {
      for_blocks(blocks, [&](int64_t block, auto width) {
        if (rounds(a)) {
          for_places<kGroup>(plan, team.index, B, from, to, [&](Range places) {
            backward_group<decltype(width)::count>(a, scratch, s, places, block, leaves);
          });
          return;
        }
        for_places(plan, team.index, B, from, to, [&](Range places) {
          auto tile = [&](int64_t place, auto height) {
            constexpr int R = decltype(height)::count, N = decltype(width)::count;
            if (gated) {
              for (int64_t n = 0; n < N; ++n)
                backward_tile<true, R, 1>(a, scratch, s, place, block + n, leaves);
            } else {
              backward_tile<false, R, N>(a, scratch, s, place, block, leaves);
            }
          };
          call_rows(places.size(), places.begin, tile);
        });
      });
    };
    products(0, smaller(now, after), false);
    if (a.dh0) products(now, after, true);
    for_own(after, now, [&](Range places) {
      for (int64_t block = blocks.begin; block < blocks.end; ++block)
        for (int64_t place = places.begin; place < places.end; ++place)
          first_of_row(a, scratch, s, place, block);
    });
    if (!plan.by_rows) team.wait();
    if (!a.projection) continue;
    for_own(0, now, [&](Range places) { project_backward(a, scratch, s, places, shares.cells); });
    if (!plan.by_rows) team.wait();
  }
  for_own(0, B, [&](Range places) { finish_backward(a, scratch, places, shares); });
  if (a.dpeephole) {
    team.wait();
    for (int64_t block = team.index; block < blocks_of(H); block += team.size)
      sum_peephole(a, scratch, block);
  }
  end_products();
}

}  // namespace
