// Going through what is saved: an entry, and the step and place that it belongs to.
#pragma once
#include "transposed.h"

namespace {

struct Entry {
  const Steps& steps;
  int64_t s, place;
  Entry(const Steps& all, int64_t step, int64_t entry) : steps(all), s(step), place(0) {
    while (steps.first[s + 1] <= entry) ++s;
    place = entry - steps.first[s];
  }
  void advance() {
    ++place;
    while (place == steps.active(s)) {
      place = 0;
      ++s;
    }
  }
};

// Whether products over all entries are large enough for three bfloat16s a float, as measured on two cores.
inline bool many_entries(const longshort_lstm& a) { return a.batch * a.time >= 256 && a.units >= 48; }

}  // namespace
