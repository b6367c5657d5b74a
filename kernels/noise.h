// The noise of zoneout and update dropout, from a counter and a key: the numbers of ops/_noise.py,
// where the definition is. Made again in the backward pass, stored nowhere.
#pragma once
#include "lstm.h"
#include "vector.h"

namespace {

typedef uint32_t Words __attribute__((vector_size(kLanes * 4)));

// "lowbias32" of C. Wellons.
template <class Word>
LONGSHORT_INLINE Word mix(Word v) {
  v ^= v >> 16;
  v *= 0x7feb352du;
  v ^= v >> 15;
  v *= 0x846ca68bu;
  return v ^ (v >> 16);
}

// Of one step: which of a row's units are dropped.
class Noise {
 public:
  enum Stream { kZoneoutH, kZoneoutC, kUpdate };

  Noise(const longshort_lstm& a, int64_t s) {
    if (!a.noise) return;
    second_ = a.noise[1];
    const double rates[] = {a.zoneout_h, a.zoneout_c, a.update_dropout};
    for (uint32_t stream = 0; stream < 3; ++stream) {
      steps_[stream] = mix(mix(a.noise[0] + stream) + a.noise[2] + static_cast<uint32_t>(s));
      below_[stream] = static_cast<int32_t>(rates[stream] * (1 << 24));
    }
  }
  bool drops(Stream stream) const { return below_[stream] > 0; }
  // `yes` where a unit is dropped, for kLanes units from `unit`.
  Vector choose(Stream stream, int64_t row, int64_t unit, Vector yes, Vector no) const {
    const uint32_t key = mix(steps_[stream] + static_cast<uint32_t>(row)) ^ second_;
    Words v;
    for (int i = 0; i < kLanes; ++i) v[i] = static_cast<uint32_t>(i);
    v = mix((v + static_cast<uint32_t>(unit)) * 0x9e3779b9u + key) >> 8;
    return reinterpret_cast<Integers>(v) < below_[stream] ? yes : no;
  }

 private:
  uint32_t steps_[3] = {}, second_ = 0;
  int32_t below_[3] = {};  // dropped where 24 random bits are below
};

}  // namespace
