// Forward: both products of a step, the gates and the cell in one register tile.
#pragma once
#include "bfloat16.h"
#include "pool.h"
#include "steps.h"

namespace {

using longshort::masked;
using longshort::Steps;
using longshort::Team;
using longshort::time_of;

inline bool gated(const longshort_lstm& a) { return a.x_dropout || a.h_dropout; }

// Entries (steps x places) whose x W is computed ahead at a time, at least one step's.
constexpr int64_t kAhead = 256;

// Hands out parts of one block of scratch; with no block it only counts.
struct Taker {
  float* data;
  int64_t used;
  float* take(int64_t floats) {
    float* p = data && floats ? data + used : nullptr;
    used += longshort::cache_lines(floats);
    return p;
  }
};

// Scratch of one forward call. States and what derives from them are kept by places, twice: for
// the step that is read and the step that is written.
struct ForwardScratch {
  const Steps& steps;
  float* weights;  // (P, D + H, 4, kLanes); in bfloat16 D and H padded
  float* bias;     // (P, 4, kLanes)
  float* cells;    // (P, B, kLanes), the running c
  float* states;   // (2, B, P kLanes), the running h
  float* dropped;  // (2, 4, B, P kLanes), h times h_dropout, or null
  float* inputs;   // (threads, 4, B, D), x times x_dropout, or null
  float* ahead;    // (P, kAhead or B, 4, kLanes), x W + b, or null
  Bfloat16* states16;  // in bfloat16: (2, 4 or 1, B, padded H), h times h_dropout as a left factor
  Bfloat16* inputs16;  // (threads, 4 or 1, kAhead or B, padded D), x times x_dropout
  int64_t size;

  ForwardScratch(const longshort_lstm& a, const Plan& plan, const Steps& made, float* data)
      : steps(made) {
    const int64_t P = blocks_of(a.units), width = P * kBlock, B = a.batch;
    const int64_t D16 = pad_depth(a.features), H16 = pad_depth(a.units);
    Taker taker{data, 0};
    weights = taker.take(rounds(a) ? halved(P * (D16 + H16) * kTile)
                                    : P * (a.features + a.units) * kTile);
    bias = taker.take(P * kTile);
    cells = taker.take(P * B * kBlock);
    states = taker.take(2 * B * width);
    dropped = taker.take(a.h_dropout && !rounds(a) ? 2 * kGates * B * width : 0);
    inputs = taker.take(a.x_dropout && !rounds(a) ? plan.threads * kGates * B * a.features : 0);
    ahead = taker.take(plan.x_ahead || rounds(a) ? P * ahead_entries(a) * kTile : 0);
    states16 = reinterpret_cast<Bfloat16*>(
        taker.take(rounds(a) ? halved(2 * state_gates(a) * B * H16) : 0));
    inputs16 = reinterpret_cast<Bfloat16*>(
        taker.take(rounds(a) ? halved(plan.threads * inputs16_size(a)) : 0));
    size = taker.used;
  }
  static int64_t state_gates(const longshort_lstm& a) { return a.h_dropout ? kGates : 1; }
  static int64_t inputs16_size(const longshort_lstm& a) {
    return (a.x_dropout ? kGates : 1) * ahead_entries(a) * pad_depth(a.features);
  }
  Bfloat16* states16_at(const longshort_lstm& a, int64_t step) const {
    return states16 + step % 2 * state_gates(a) * a.batch * pad_depth(a.units);
  }
  const Bfloat16* weights16(const longshort_lstm& a, int64_t block) const {
    return reinterpret_cast<const Bfloat16*>(weights) +
           block * (pad_depth(a.features) + pad_depth(a.units)) * kTile;
  }
  static int64_t ahead_entries(const longshort_lstm& a) {
    return kAhead > a.batch ? kAhead : a.batch;
  }
};

// One step of one thread: what its tiles read and write.
struct ForwardStep {
  const longshort_lstm& a;
  const ForwardScratch& scratch;
  int64_t s;
  const float* x;       // x of row 0 at this step; with x_dropout the thread's (4, B, D) by places
  float* ahead;         // x W + b of this step's first place in block 0, or null
  int64_t ahead_block;  // floats from one block of it to the next
  bool has_h;           // false: h is zero

  int64_t width() const { return blocks_of(a.units) * kBlock; }
  // (B, width) of the step before and of this one; dropped has four of them.
  float* states(int64_t step) const { return scratch.states + step % 2 * a.batch * width(); }
  float* dropped(int64_t step) const {
    return scratch.dropped + step % 2 * kGates * a.batch * width();
  }
};

// Writes kLanes units of h, with their dropout, as a left factor in bfloat16.
LONGSHORT_INLINE void round_state(const longshort_lstm& a, Bfloat16* states, int64_t place,
                                  int64_t row, int64_t unit, Vector h) {
  const int64_t H = a.units, B = a.batch, width = pad_depth(H);
  for (int64_t g = 0; g < ForwardScratch::state_gates(a); ++g) {
    const Vector factor =
        a.h_dropout ? load_n(a.h_dropout + (g * B + row) * H + unit, H - unit) : splat(1.0f);
    store_bfloat16(states + (g * B + place) * width + unit, h * factor);
  }
}

// From z to the new state, for one block of units. What is the same for all rows is worked out once:
// at small sizes the addresses would cost as much as the cell.
struct CellForward {
  const ForwardStep& step;
  const longshort_lstm& a;
  const int64_t first, block, unit, width, row_stride;
  const bool masks, saves, drops;
  float *running, *gates, *cells, *hs;
  const float* previous;
  float* next;

  LONGSHORT_INLINE CellForward(const ForwardStep& now, int64_t place, int64_t its_block)
      : step(now),
        a(now.a),
        first(place),
        block(its_block),
        unit(block * kBlock),
        width(now.width()),
        row_stride(a.time * a.hs_stride),
        masks(a.mask),
        saves(a.gates),
        drops(rounds(a) || now.scratch.dropped) {
    const Steps& steps = now.scratch.steps;
    const int64_t entry = block * steps.total(a) + steps.first[now.s] + place;
    running = now.scratch.cells + (block * a.batch + place) * kBlock;
    previous = now.states(now.s) + place * width + unit;
    next = now.states(now.s + 1) + place * width + unit;
    gates = a.gates + entry * kTile;
    cells = a.cells + entry * kBlock;
    hs = a.hs ? a.hs + time_of(a, now.s) * a.hs_stride + unit : nullptr;
  }

  // The tile's row r.
  LONGSHORT_INLINE void operator()(int64_t r, const Vector (&z)[4]) const {
    const int64_t row = step.scratch.steps.row[first + r];
    const Cell cell = make_cell(z, load(running + r * kBlock));
    Vector c = cell.c, h = cell.h;
    if (masks && masked(a, row, step.s)) {
      c = load(running + r * kBlock);
      h = load(previous + r * width);
    }
    store(running + r * kBlock, c);
    store(next + r * width, h);
    if (hs) store_n(hs + row * row_stride, h, a.units - unit);
    if (saves) {
      store(gates + r * kTile, cell.i);
      store(gates + r * kTile + kBlock, cell.f);
      store(gates + r * kTile + 2 * kBlock, cell.g);
      store(gates + r * kTile + 3 * kBlock, cell.o);
      store(cells + r * kBlock, c);
    }
    if (drops) drop_state(first + r, row, h);
  }

  // h with its dropout, where the next step's product reads it.
  void drop_state(int64_t place, int64_t row, Vector h) const {
    const int64_t H = a.units, B = a.batch;
    if (rounds(a)) {
      round_state(a, step.scratch.states16_at(a, step.s + 1), place, row, unit, h);
      return;
    }
    float* dropped = step.dropped(step.s + 1) + place * width + unit;
    for (int64_t gate = 0; gate < kGates; ++gate) {
      const Vector factor = load_n(a.h_dropout + (gate * B + row) * H + unit, H - unit);
      store(dropped + gate * B * width, h * factor);
    }
  }
};

template <bool Gated, int R>
void forward_tile(const ForwardStep& step, int64_t place, int64_t block) {
  const longshort_lstm& a = step.a;
  const int64_t D = a.features, H = a.units, B = a.batch, T = a.time;
  const float* weights = step.scratch.weights + block * (D + H) * kTile;
  if (a.gates) {
    const Steps& steps = step.scratch.steps;
    const int64_t at = block * steps.total(a) + steps.first[step.s] + place;
    prefetch<true>(a.gates + at * kTile, R * kTile);
    prefetch<true>(a.cells + at * kBlock, R * kBlock);
  }
  Tile<R, 4> z;
  if (step.ahead) {
    const float* ahead = step.ahead + block * step.ahead_block + place * kTile;
    for (int r = 0; r < R; ++r)
      for (int g = 0; g < 4; ++g) z.sum[r][g] = load(ahead + r * kTile + g * kBlock);
  } else {
    for (int g = 0; g < 4; ++g) {
      const Vector bias = load(step.scratch.bias + block * kTile + g * kBlock);
      for (int r = 0; r < R; ++r) z.sum[r][g] = bias;
    }
    Left<R> x = left_at<R>(step.x + place * D, D, 1, B * D);
    for (int r = 0; !a.x_dropout && r < R; ++r) {
      x.row[r] = step.x + step.scratch.steps.row[place + r] * T * D;
      x.gate = 0;
    }
    multiply<Gated>(z, x, weights, D);
  }
  if (step.has_h) {
    const int64_t width = step.width();
    const float* h = a.h_dropout ? step.dropped(step.s) : step.states(step.s);
    const int64_t gate = a.h_dropout ? B * width : 0;
    multiply<Gated>(z, left_at<R>(h + place * width, width, 1, gate), weights + D * kTile, H);
  }
  const CellForward cell(step, place, block);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) cell(r, z.sum[r]);
}

// The same in bfloat16, for up to kGroup places: x W is there, h U is added to it in place.
inline void forward_group(const ForwardStep& step, Range places, int64_t block) {
  const longshort_lstm& a = step.a;
  const int64_t B = a.batch, depth = pad_depth(a.units);
  float* sums = step.ahead + block * step.ahead_block + places.begin * kTile;
  if (step.has_h) {
    const Product product{step.scratch.states16_at(a, step.s) + places.begin * depth,
                          depth,
                          step.scratch.weights16(a, block) + pad_depth(a.features) * kTile,
                          kTile * 2,
                          depth,
                          sums,
                          kTile,
                          true};
    if (a.h_dropout) {
      multiply_gated(product, places.size(), B * depth);
    } else {
      multiply<4>(product, places.size());
    }
  }
  const CellForward cell(step, places.begin, block);
  for (int64_t r = 0; r < places.size(); ++r) {
    Vector z[4];
    for (int g = 0; g < 4; ++g)
      z[g] = load(sums + r * kTile + g * kBlock) +
             load(step.scratch.bias + block * kTile + g * kBlock);
    cell(r, z);
  }
}

// x W for the thread's entries of some steps, in bfloat16.
inline void compute_ahead16(const longshort_lstm& a, const ForwardScratch& scratch,
                            const Plan& plan, int thread, Range steps, Range blocks) {
  const int64_t D = a.features, B = a.batch, T = a.time, depth = pad_depth(D);
  const int64_t entries = ForwardScratch::ahead_entries(a);
  Bfloat16* inputs = scratch.inputs16 + thread * ForwardScratch::inputs16_size(a);
  const auto for_groups = [&](auto body) {
    for (int64_t s = steps.begin; s < steps.end; ++s) {
      const int64_t first = scratch.steps.first[s] - scratch.steps.first[steps.begin];
      for_places<kGroup>(plan, thread, B, 0, scratch.steps.active(s),
                         [&](Range places) { body(s, first + places.begin, places); });
    }
  };
  for_groups([&](int64_t s, int64_t entry, Range places) {
    for (int64_t place = places.begin; place < places.end; ++place, ++entry) {
      const int64_t row = scratch.steps.row[place];
      const float* x = a.x + (row * T + time_of(a, s)) * D;
      if (!a.x_dropout) {
        round_row(x, D, depth, inputs + entry * depth);
        continue;
      }
      for (int64_t g = 0; g < kGates; ++g) {
        const float* factor = a.x_dropout + (g * B + row) * D;
        for (int64_t d = 0; d < depth; d += kLanes) {
          const Vector v = d < D ? load_n(x + d, D - d) * load_n(factor + d, D - d) : Vector{};
          store_bfloat16(inputs + (g * entries + entry) * depth + d, v);
        }
      }
    }
  });
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    for_groups([&](int64_t, int64_t entry, Range places) {
      const Product product{inputs + entry * depth,
                            depth,
                            scratch.weights16(a, block),
                            kTile * 2,
                            depth,
                            scratch.ahead + (block * entries + entry) * kTile,
                            kTile,
                            false};
      if (a.x_dropout) {
        multiply_gated(product, places.size(), entries * depth);
      } else {
        multiply<4>(product, places.size());
      }
    });
  }
}

// x W + b for all entries of steps begin..end-1, one block of units.
template <int R>
void ahead_tile(const longshort_lstm& a, const ForwardScratch& scratch, const float* const (&x)[R],
                int64_t block, float* out) {
  Tile<R, 4> z;
  for (int g = 0; g < 4; ++g) {
    const Vector bias = load(scratch.bias + block * kTile + g * kBlock);
    for (int r = 0; r < R; ++r) z.sum[r][g] = bias;
  }
  Left<R> left;
  for (int r = 0; r < R; ++r) left.row[r] = x[r];
  left.step = 1;
  left.gate = 0;
  multiply<false>(z, left, scratch.weights + block * (a.features + a.units) * kTile, a.features);
  for (int r = 0; r < R; ++r)
    for (int g = 0; g < 4; ++g) store(out + r * kTile + g * kBlock, z.sum[r][g]);
}
inline void compute_ahead(const longshort_lstm& a, const ForwardScratch& scratch, Range steps,
                          Range blocks) {
  const int64_t D = a.features, T = a.time;
  const int64_t entries = scratch.steps.first[steps.end] - scratch.steps.first[steps.begin];
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    int64_t s = steps.begin, place = 0;
    for_rows(Range{0, entries}, [&](int64_t entry, auto height) {
      constexpr int R = decltype(height)::count;
      const float* x[R];
      for (int r = 0; r < R; ++r) {
        while (place == scratch.steps.active(s)) {
          place = 0;
          ++s;
        }
        x[r] = a.x + (scratch.steps.row[place++] * T + time_of(a, s)) * D;
      }
      float* out = scratch.ahead + (block * ForwardScratch::ahead_entries(a) + entry) * kTile;
      ahead_tile<R>(a, scratch, x, block, out);
    });
  }
}

// h of all steps of a row that are not computed: those before its first and after its last one.
inline void fill_skipped(const longshort_lstm& a, int64_t row, Range steps, int64_t unit,
                         int64_t width, const float* h) {
  for (int64_t s = steps.begin; s < steps.end; ++s) {
    float* out = a.hs + (row * a.time + time_of(a, s)) * a.hs_stride + unit;
    if (h) {
      memcpy(out, h, width * sizeof(float));
    } else {
      memset(out, 0, width * sizeof(float));
    }
  }
}

// Initial state of the given places and blocks, in both of the buffers.
inline void start_forward(const longshort_lstm& a, const ForwardScratch& scratch, Range places,
                          Range blocks) {
  const int64_t B = a.batch, H = a.units, total = blocks_of(H) * kBlock;
  for (int64_t place = places.begin; place < places.end; ++place) {
    const int64_t row = scratch.steps.row[place];
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int64_t unit = block * kBlock, width = smaller(kBlock, H - unit);
      const Vector h = a.h0 ? load_n(a.h0 + row * H + unit, width) : Vector{};
      const Vector c = a.c0 ? load_n(a.c0 + row * H + unit, width) : Vector{};
      store(scratch.cells + (block * B + place) * kBlock, c);
      for (int64_t buffer = 0; buffer < 2; ++buffer) {
        store(scratch.states + (buffer * B + place) * total + unit, h);
        if (rounds(a)) {
          Bfloat16* states = scratch.states16_at(a, buffer);
          round_state(a, states, place, row, unit, h);
          for (int64_t g = 0; block == blocks_of(H) - 1 && g < scratch.state_gates(a); ++g)
            for (int64_t u = total; u < pad_depth(H); ++u)
              states[(g * B + place) * pad_depth(H) + u] = 0;
        }
        for (int64_t g = 0; scratch.dropped && g < kGates; ++g) {
          const Vector factor = load_n(a.h_dropout + (g * B + row) * H + unit, width);
          store(scratch.dropped + ((buffer * kGates + g) * B + place) * total + unit, h * factor);
        }
      }
    }
  }
}

inline void finish_forward(const longshort_lstm& a, const ForwardScratch& scratch, Range places,
                           Range blocks) {
  const int64_t B = a.batch, H = a.units, total = blocks_of(H) * kBlock;
  for (int64_t place = places.begin; place < places.end; ++place) {
    const int64_t row = scratch.steps.row[place], end = scratch.steps.end[place];
    const float* state = scratch.states + (end % 2 * B + place) * total;
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int64_t unit = block * kBlock, width = smaller(kBlock, H - unit);
      store_n(a.h_last + row * H + unit, load(state + unit), width);
      store_n(a.c_last + row * H + unit, load(scratch.cells + (block * B + place) * kBlock), width);
    }
    if (!a.hs) continue;
    const int64_t unit = blocks.begin * kBlock, width = smaller(blocks.end * kBlock, H) - unit;
    if (width <= 0) continue;
    fill_skipped(a, row, Range{0, scratch.steps.begin[place]}, unit, width,
                 a.h0 ? a.h0 + row * H + unit : nullptr);
    fill_skipped(a, row, Range{end, a.time}, unit, width, state + unit);
  }
}

// The x of one step with its dropout, by places.
inline const float* drop_inputs(const longshort_lstm& a, const ForwardScratch& scratch,
                                const Plan& plan, const Team& team, int64_t s) {
  const int64_t B = a.batch, D = a.features;
  float* inputs = scratch.inputs + team.index * kGates * B * D;
  for_places(plan, team.index, B, 0, scratch.steps.active(s), [&](Range places) {
    for (int64_t place = places.begin; place < places.end; ++place) {
      const int64_t row = scratch.steps.row[place];
      const float* x = a.x + (row * a.time + time_of(a, s)) * D;
      for (int64_t g = 0; g < kGates; ++g)
        for (int64_t d = 0; d < D; ++d)
          inputs[(g * B + place) * D + d] = x[d] * a.x_dropout[(g * B + row) * D + d];
    }
  });
  return inputs;
}

// One thread's share of a forward call. The first step with no h0 has no recurrent product.
void forward(const longshort_lstm& a, const Plan& plan, const Steps& steps, float* data,
             const Team& team) {
  const int64_t B = a.batch, T = a.time, D = a.features, H = a.units, P = blocks_of(H);
  const ForwardScratch scratch(a, plan, steps, data);
  for (int64_t block = team.index; block < P; block += team.size) {
    if (rounds(a)) {
      auto* panel = const_cast<Bfloat16*>(scratch.weights16(a, block));
      pack_gates(a.kernel, D, H, block, panel);
      pack_gates(a.recurrent, H, H, block, panel + pad_depth(D) * kTile);
    } else {
      float* panel = scratch.weights + block * (D + H) * kTile;
      pack_gates(a.kernel, D, H, block, panel);
      pack_gates(a.recurrent, H, H, block, panel + D * kTile);
    }
    if (a.bias) {
      pack_gates(a.bias, 1, H, block, scratch.bias + block * kTile);
    } else {
      memset(scratch.bias + block * kTile, 0, kTile * sizeof(float));
    }
  }
  const Range blocks = plan.blocks(P, team.index);
  for_places(plan, team.index, B, 0, B,
             [&](Range places) { start_forward(a, scratch, places, blocks); });
  team.wait();

  int64_t ahead_begin = 0, ahead_end = 0;
  for (int64_t s = 0; s < T; ++s) {
    ForwardStep step{a, scratch, s, a.x + time_of(a, s) * D, nullptr, 0, s > 0 || a.h0};
    if (scratch.ahead) {
      if (s == ahead_end) {
        ahead_begin = s;
        do {
          ++ahead_end;
        } while (ahead_end < T && scratch.steps.first[ahead_end + 1] -
                                          scratch.steps.first[ahead_begin] <= kAhead);
        const Range steps{ahead_begin, ahead_end};
        if (rounds(a)) {
          compute_ahead16(a, scratch, plan, team.index, steps, blocks);
        } else {
          compute_ahead(a, scratch, steps, blocks);
        }
      }
      step.ahead_block = ForwardScratch::ahead_entries(a) * kTile;
      step.ahead = scratch.ahead +
                   (scratch.steps.first[s] - scratch.steps.first[ahead_begin]) * kTile;
    } else if (a.x_dropout) {
      step.x = drop_inputs(a, scratch, plan, team, s);
    }
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      if (rounds(a)) {
        for_places<kGroup>(plan, team.index, B, 0, scratch.steps.active(s),
                           [&](Range places) { forward_group(step, places, block); });
        continue;
      }
      for_places(plan, team.index, B, 0, scratch.steps.active(s), [&](Range places) {
        auto tile = [&](int64_t place, auto height) {
          if (gated(a)) {
            forward_tile<true, decltype(height)::count>(step, place, block);
          } else {
            forward_tile<false, decltype(height)::count>(step, place, block);
          }
        };
        call_rows(places.size(), places.begin, tile);
      });
    }
    if (!plan.by_rows) team.wait();
  }
  for_places(plan, team.index, B, 0, B,
             [&](Range places) { finish_forward(a, scratch, places, blocks); });
  end_products();
}

}  // namespace
