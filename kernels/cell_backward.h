// What a backward call works on: its scratch, and the cell from the gradient of h to dz.
#pragma once
#include "layer_norm.h"
#include "transposed.h"

namespace {

// Sums over entries, of one vector each: the gradients of the peephole weights (3), and with layer norm
// those of its gain and bias of c (2), of the bias (4) and of its gains of x W and h U (8).
enum { kPeepholeSum = 0, kNormCellSum = 3, kNormBiasSum = 5, kNormGainSum = 9, kAllSums = 17 };

struct BackwardScratch {
  const Steps& steps;
  const bool varied;  // whether the cell is a variant's
  float* weights;  // packed U^T, as floats or as bfloat16s
  float* dc;       // (S, B, blocks kLanes) by places, the running gradient of c and what is beside it
  float* dh;       // (B, width) by places, the gradient of h that passes a step unchanged; its width
                   // is P in whole blocks
  float* rows;     // (2, B, blocks, 4, kLanes) by places, dz of the step done last and of this one;
                   // as bfloat16s (2, 4, chunks of H, B, kChunk)
  float* sums;        // (blocks, B, num_sums, kLanes) by places, with layer norm by tiles of places, see
                      // above, or null
  float* norm_gains;  // (blocks, 2, 4, kLanes), layer norm's of x W and h U, or null, as are
  float* dcells;      // (B, blocks kLanes) by places, its gradients of o A(c), then of c
  float* parts;       // (3, B, blocks, 2, kLanes) by places, of its means
  float* projected;   // (B, width) by places, the gradient of what was projected, or null
  float* projection;  // the packed weights that it is multiplied with, or null
  int64_t size;

  BackwardScratch(const longshort_lstm& a, const Steps& made, float* data)
      : steps(made), varied(::varied(a)) {
    const int64_t blocks = blocks_of(a.units), width = blocks_of(a.outputs) * kBlock;
    Taker taker{data, 0};
    const Pieces pieces(a);
    weights = taker.take(pieces.count ? halved(transposed_at(a.units, blocks_of(a.outputs), pieces))
                                      : transposed_size(a.outputs, a.units));
    dc = taker.take(states_of(a) * blocks * a.batch * kBlock);
    dh = taker.take(a.batch * width);
    rows = taker.take(pieces.count ? halved(2 * a.batch * kGates * pieces.room(a.units))
                                   : 2 * blocks * a.batch * kTile);
    sums = taker.take(blocks * a.batch * num_sums(a) * kBlock);
    norm_gains = taker.take(a.norm_gain ? 2 * blocks * kTile : 0);
    dcells = taker.take(a.norm_gain ? a.batch * blocks * kBlock : 0);
    parts = taker.take(a.norm_gain ? 6 * a.batch * blocks * kBlock : 0);
    projected = taker.take(a.projection ? a.batch * width : 0);
    projection = taker.take(a.projection ? a.outputs * blocks * kBlock : 0);
    size = taker.used;
  }
  float* rows_at(const longshort_lstm& a, int64_t s, int64_t place) const {
    return rows + (s % 2 * a.batch + place) * blocks_of(a.units) * kTile;
  }
  Bfloat16* weights16(const longshort_lstm& a, int64_t block) const {
    return reinterpret_cast<Bfloat16*>(weights) + transposed_at(a.units, block, Pieces(a));
  }
  Bfloat16* rows16_at(const longshort_lstm& a, int64_t s, int64_t place) const {
    return reinterpret_cast<Bfloat16*>(rows) +
           s % 2 * a.batch * kGates * Pieces(a).room(a.units) + place * kChunk;
  }
  float* dc_at(const longshort_lstm& a, int64_t place, int64_t block, int64_t state = 0) const {
    return dc + ((state * a.batch + place) * blocks_of(a.units) + block) * kBlock;
  }
  float* dh_at(const longshort_lstm& a, int64_t place, int64_t block) const {
    return dh + (place * blocks_of(a.outputs) + block) * kBlock;
  }
  static int64_t num_sums(const longshort_lstm& a) {
    return a.norm_gain ? kAllSums : a.dpeephole ? 3 : 0;
  }
  float* sums_at(const longshort_lstm& a, int64_t sum, int64_t block) const {
    return sums + (block * a.batch + sum) * num_sums(a) * kBlock;
  }
  // Which of them a place's values go to. With layer norm a tile's places share one: many sums for each
  // place would not stay in a core's own cache. Such a call has the same tiles for any number of threads.
  static int64_t sum_of(const longshort_lstm& a, int64_t place) {
    return a.norm_gain ? longshort::part_of(a.batch, place, num_tiles(a.batch, own_height(a))) : place;
  }
  float* dcells_at(const longshort_lstm& a, int64_t place, int64_t block) const {
    return dcells + (place * blocks_of(a.units) + block) * kBlock;
  }
  float* parts_at(const longshort_lstm& a, int64_t which, int64_t place, int64_t block) const {
    return parts + ((which * a.batch + place) * blocks_of(a.units) + block) * 2 * kBlock;
  }
};

// Where dz of one place and block is kept: for the gradients of the weights, and for the product of the
// step before. The addresses are worked out once: at small sizes they cost as much as the cell.
struct KeepDz {
  float* saved;
  float* row;
  Bfloat16* row16;
  const Pieces pieces;
  int64_t step, gate16;  // from one chunk of row16 to the next, from one gate

  LONGSHORT_INLINE KeepDz(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                          int64_t place, int64_t block, int64_t entry)
      : saved(a.dz + entry * kTile), row(nullptr), row16(nullptr), pieces(a), step(0), gate16(0) {
    if (pieces.count) {
      step = a.batch * kChunk;
      gate16 = pieces.chunks(a.units) * step;
      row16 = scratch.rows16_at(a, s, place) + pieces.in_row(block * kBlock, step);
    } else {
      row = scratch.rows_at(a, s, place) + block * kTile;
    }
  }
  LONGSHORT_INLINE void operator()(int64_t gate, Vector value) const {
    store(saved + gate * kBlock, value);
    if (row16) {
      store_pieces(row16 + gate * gate16, value, pieces, step);
    } else {
      store(row + gate * kBlock, value);
    }
  }
  LONGSHORT_INLINE void zeros() const {
    for (int64_t g = 0; g < kGates; ++g) (*this)(g, Vector{});
  }
};

// Of what is saved, by places within a block's steps.
LONGSHORT_INLINE int64_t entry_of(const longshort_lstm& a, const BackwardScratch& scratch, int64_t s,
                                  int64_t place, int64_t block) {
  return block * scratch.steps.total(a) + scratch.steps.first[s] + place;
}

// c before step s of one place and block, or another state of the cell.
LONGSHORT_INLINE Vector cell_before(const longshort_lstm& a, const BackwardScratch& scratch,
                                    int64_t s, int64_t place, int64_t block, int64_t state = 0) {
  const int64_t H = a.units, unit = block * kBlock;
  if (s > scratch.steps.begin[place]) {
    const int64_t before = scratch.steps.first[s - 1] + place;
    return load(a.cells + state * longshort::saved_cells(a) +
                (block * scratch.steps.total(a) + before) * kBlock);
  }
  if (!a.c0) return Vector{};
  return load_n(a.c0 + (state * a.batch + scratch.steps.row[place]) * H + unit, H - unit);
}

LONGSHORT_INLINE const float* dhs_at(const longshort_lstm& a, int64_t row, int64_t s,
                                     int64_t block) {
  return a.dhs + (row * a.time + time_of(a, s)) * a.hs_stride + block * kBlock;
}
// The gradient of h at step s for one place and block, with that of hs.
LONGSHORT_INLINE Vector add_dhs(const longshort_lstm& a, int64_t row, int64_t s, int64_t block,
                                Vector dh) {
  if (!a.dhs || (a.zero_masked && masked(a, row, s))) return dh;
  return dh + load_n(dhs_at(a, row, s, block), a.outputs - block * kBlock);
}

// Derivative of the cell at step s for one place and kLanes units; dh is the whole gradient of h.
LONGSHORT_INLINE void cell_backward(const longshort_lstm& a, const BackwardScratch& scratch,
                                    int64_t s, int64_t place, int64_t block, Vector dh) {
  const int64_t row = scratch.steps.row[place], entry = entry_of(a, scratch, s, place, block);
  const KeepDz put(a, scratch, s, place, block, entry);
  dh = add_dhs(a, row, s, block, dh);
  if (masked(a, row, s)) {
    store(scratch.dh_at(a, place, block), dh);
    put.zeros();
    return;
  }
  const float* gates = a.gates + entry * kTile;
  const Vector i = load(gates), f = load(gates + kBlock), g = load(gates + 2 * kBlock),
               o = load(gates + 3 * kBlock);
  const Vector one = splat(1.0f);
  const Vector c_prev = cell_before(a, scratch, s, place, block);
  const Vector tanh_c = tanh(load(a.cells + entry * kBlock));
  float* running = scratch.dc_at(a, place, block);
  const Vector dc = mul_add(dh * o, mul_add(-tanh_c, tanh_c, one), load(running));
  put(0, dc * g * i * (one - i));
  put(1, dc * c_prev * f * (one - f));
  put(2, dc * i * mul_add(-g, g, one));
  put(3, dh * tanh_c * o * (one - o));
  store(running, dc * f);
}

// The cell's derivative for the LSTM's variants, at one step and block.
struct VariedBackward {
  const longshort_lstm& a;
  const BackwardScratch& scratch;
  const int64_t s, block, unit, first;  // first: what is saved of place 0
  const VariedCell varied;
  const Zoneout zoneout;

  VariedBackward(const longshort_lstm& layer, const BackwardScratch& its, const Noise& noise,
                 int64_t step, int64_t its_block)
      : a(layer),
        scratch(its),
        s(step),
        block(its_block),
        unit(its_block * kBlock),
        first(entry_of(layer, its, step, 0, its_block)),
        varied(layer, noise, its_block),
        zoneout(layer, noise, its_block) {}

  LONGSHORT_INLINE int64_t row_of(int64_t place) const { return scratch.steps.row[place]; }
  LONGSHORT_INLINE int64_t entry(int64_t place) const { return first + place; }
  // Layer norm's x W (0) or h U (1) of place 0.
  const float* products(int64_t which) const {
    return a.products + (which * blocks_of(a.units) * scratch.steps.total(a) + first) * kTile;
  }
  // A step seen again.
  LONGSHORT_INLINE VariedCell::Past recall(int64_t place) const {
    const float* gates = a.gates + entry(place) * kTile;
    const Cell cell{load(gates), load(gates + kBlock), load(gates + 2 * kBlock),
                    load(gates + 3 * kBlock), {}, {}};
    return varied.recall(row_of(place), cell, cell_before(a, scratch, s, place, block));
  }
  // From dout, the gradient of o A(c).
  void cell(int64_t place, Vector dout) const;
  // From dh: what passes the step unchanged is kept, the rest goes to the cell, or to the projection.
  LONGSHORT_INLINE void state(int64_t place, Vector dh) const {
    const int64_t P = a.outputs, row = row_of(place);
    dh = add_dhs(a, row, s, block, dh);
    const Vector stays = masked(a, row, s) ? splat(1.0f) : zoneout.stays(Noise::kZoneoutH, row);
    store(scratch.dh_at(a, place, block), dh * stays);
    dh *= splat(1.0f) - stays;
    if (!a.projection) return cell(place, dh);
    store(scratch.projected + (place * blocks_of(P) + block) * kBlock, dh);
    store_n(a.dprojected + (row * a.time + time_of(a, s)) * P + unit, dh, P - unit);
  }
};

LONGSHORT_INLINE void VariedBackward::cell(int64_t place, Vector dout) const {
  if (a.norm_gain) return store(scratch.dcells_at(a, place, block), dout);  // the rest: layer_norm_backward.h
  const int64_t row = row_of(place);
  const KeepDz put(a, scratch, s, place, block, entry(place));
  if (masked(a, row, s)) return put.zeros();
  const auto past = recall(place);
  float* running = scratch.dc_at(a, place, block);
  Vector dz, dc;
  varied.out_backward(past.cell, past.c, dout, dz, dc);
  const auto d = varied.backward(row, past, dz, dc, load(running));
  for (int n = 0; n < 4; ++n) put(n, d.z[n]);
  store(running, d.c);
  for (int n = 0; scratch.sums && n < 3; ++n) {
    float* sum = scratch.sums_at(a, place, block) + n * kBlock;
    store(sum, load(sum) + d.peephole[n]);
  }
}

}  // namespace
