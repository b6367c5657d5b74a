// How units, rows and work are cut into blocks, tiles and shares.
#pragma once
#include <stdint.h>

#include "lstm.h"

namespace longshort {

constexpr int64_t kGates = 4;  // i, f, c, o

// States of the cell's own, beside h.
static inline int64_t states_of(const longshort_lstm& a) { return a.cell == LONGSHORT_SLSTM ? 3 : 1; }

static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Rounds a number of floats up to whole cache lines.
static inline int64_t cache_lines(int64_t floats) { return ceil_div(floats, 16) * 16; }

// Floats from one state's part of `cells` to the next.
static inline int64_t saved_cells(const longshort_lstm& a) {
  return ceil_div(a.units, 16) * 16 * a.time * a.batch;
}

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Part `i` of `n` nearly equal parts of 0..count-1.
static inline Range part(int64_t count, int64_t i, int64_t n) {
  return Range{count * i / n, count * (i + 1) / n};
}

// The part of them that has `item`.
static inline int64_t part_of(int64_t count, int64_t item, int64_t n) {
  return ((item + 1) * n - 1) / count;
}

// One team works through all steps together. Where the packed weights fit a core's own cache,
// each thread takes rows of the batch and never waits; else each takes units, so that a core
// streams only its share of the weights, and waits for the others once a step.
struct Plan {
  int threads;
  bool by_rows = false;
  // Rows may have different lengths.
  bool ragged = false;
  // Compute x W for many steps ahead in one product: the weights of x then pass through the cache
  // once for all of them, not once a step.
  bool x_ahead = false;
  // The rows of a tile are the same for any number of threads, since sums over them are kept.
  bool fixed_tiles = false;

  Range blocks(int64_t count, int thread) const {
    return by_rows ? Range{0, count} : part(count, thread, threads);
  }
};

// For the loop over time, forward and backward.
Plan plan_steps(const longshort_lstm& a, int num_threads);
// For one product of `flops` floating-point operations that splits freely.
int plan_product(double flops, int num_threads);

}  // namespace longshort
