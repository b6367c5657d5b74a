#include "steps.h"

#include <vector>

#include "layout.h"

namespace longshort {
namespace {

// The steps from the first to the last that is not masked; both 0 for a row that is masked
// throughout.
struct Span {
  int32_t begin = 0, end = 0;
};
Span span_of(const longshort_lstm& a, int64_t row) {
  int64_t begin = 0, end = a.time;
  while (end > 0 && masked(a, row, end - 1)) --end;
  while (begin < end && masked(a, row, begin)) ++begin;
  return Span{static_cast<int32_t>(begin), static_cast<int32_t>(end)};
}

}  // namespace

int64_t steps_size(const longshort_lstm& a) {
  return cache_lines(2 * (a.time + 1) + 3 * a.batch + a.time + 2);
}

Steps make_steps(const longshort_lstm& a, float* scratch) {
  const int64_t B = a.batch, T = a.time;
  auto* first = reinterpret_cast<int64_t*>(scratch);
  auto* row = reinterpret_cast<int32_t*>(first + T + 1);
  auto *begin = row + B, *end = begin + B, *counts = end + B;
  counts[0] = counts[T + 1] = 0;
  if (!a.mask) {
    for (int64_t b = 0; b < B; ++b) {
      row[b] = static_cast<int32_t>(b);
      begin[b] = 0;
      end[b] = static_cast<int32_t>(T);
    }
    for (int64_t s = 0; s < T; ++s) counts[s + 1] = static_cast<int32_t>(B);
  } else {
    std::vector<Span> spans(B);
    int64_t shrinking = 0, growing = 0;
    for (int64_t b = 0; b < B; ++b) {
      spans[b] = span_of(a, b);
      shrinking += spans[b].end;
      if (spans[b].end) growing += T - spans[b].begin;
    }
    const bool grows = growing < shrinking;
    // Sort by counting: rows that are computed longest come first, equal ones as they were.
    std::vector<int32_t> at(T + 2);
    const auto skipped = [&](const Span& span) {
      return span.end == 0 ? T : grows ? span.begin : T - span.end;
    };
    for (const Span& span : spans) ++at[skipped(span) + 1];
    for (int64_t k = 0; k <= T; ++k) at[k + 1] += at[k];
    for (int64_t s = 0; s < T; ++s) counts[s + 1] = grows ? at[s + 1] : at[T - s];
    for (int64_t b = 0; b < B; ++b) {
      const Span& span = spans[b];
      const int32_t place = at[skipped(span)]++;
      row[place] = static_cast<int32_t>(b);
      begin[place] = grows && span.end ? span.begin : 0;
      end[place] = grows && span.end ? static_cast<int32_t>(T) : span.end;
    }
  }
  first[0] = 0;
  for (int64_t s = 0; s < T; ++s) first[s + 1] = first[s] + counts[s + 1];
  return Steps{first, row, begin, end, counts};
}

}  // namespace longshort
