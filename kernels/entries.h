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

}  // namespace
