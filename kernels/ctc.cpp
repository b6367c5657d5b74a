// The loss of connectionist temporal classification (Graves et al. 2006) and its gradient, row by row.
//
// A row of m labels has 2 m + 1 states, a blank before, between and behind the labels. alpha_t(s) sums the
// paths to state s at frame t, beta_t(s) those from there on; both are scaled at each frame to sum to 1.
// What is more than 700 nats less probable than the rest gets lost in that. If it was the better way in the
// end, the products of both sums are lost at that frame, too; so where nothing remains of a sum or of these
// products, the row is summed once more in logarithms.
#include <atomic>
#include <cmath>
#include <limits>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "barrier.h"
#include "layout.h"
#include "pool.h"
#include "xla/ffi/api/ffi.h"

namespace longshort {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sums and products of probabilities as they are, and as logarithms.
struct Plain {
  static constexpr double kNone = 0, kOne = 1;
  static double of_log(double x) { return std::exp(x); }
  static double to_log(double x) { return std::log(x); }
  static double add(double a, double b) { return a + b; }
  static double times(double a, double b) { return a * b; }
  static double over(double a, double b) { return a / b; }
};
struct Logs {
  static constexpr double kNone = -kInfinity, kOne = 0;
  static double of_log(double x) { return x; }
  static double to_log(double x) { return x; }
  static double add(double a, double b) {
    if (a < b) std::swap(a, b);
    return b == kNone ? a : a + std::log1p(std::exp(b - a));
  }
  static double times(double a, double b) { return a + b; }
  static double over(double a, double b) { return a - b; }
};

struct Row {
  const float* logits;  // (frames, columns)
  int64_t frames, columns;
  const int32_t* labels;
  int64_t num_labels;
  float* loss;
  float* dlogits;  // (frames, columns); the softmax of the logits before
  const double* log_total;  // (frames): log of the sum of exponentials

  int64_t states() const { return 2 * num_labels + 1; }
  int64_t label(int64_t s) const { return s % 2 ? labels[s / 2] : 0; }
  // Whether the blank before state s may be left out.
  bool skips(int64_t s) const { return s % 2 && s > 1 && labels[s / 2] != labels[s / 2 - 1]; }
};

template <class Sum>
double scale(double* values, int64_t n) {
  double total = Sum::kNone;
  for (int64_t s = 0; s < n; ++s) total = Sum::add(total, values[s]);
  for (int64_t s = 0; s < n && total != Sum::kNone; ++s) values[s] = Sum::over(values[s], total);
  return total;
}

// Whether what is summed was anything; then the loss and its gradient are there.
template <class Sum>
bool run_row(const Row& row, std::vector<double>& memory) {
  const int64_t S = row.states(), T = row.frames;
  memory.resize(static_cast<size_t>(S * (2 * T + 2)));
  double* alpha = memory.data();         // (T, S)
  double* emitted = alpha + S * T;       // (T, S) p of each state's label
  double* beta = emitted + S * T;        // (S)
  double* next = beta + S;               // (S) beta of the frame behind, times p there
  double log_p = 0;
  for (int64_t t = 0; t < T; ++t) {
    const float* z = row.logits + t * row.columns;
    double* now = alpha + t * S;
    const double* before = t > 0 ? now - S : now;
    double* e = emitted + t * S;
    const double blank = Sum::of_log(z[0] - row.log_total[t]);
    for (int64_t s = 0; s < S; ++s) {
      e[s] = s % 2 ? Sum::of_log(z[row.label(s)] - row.log_total[t]) : blank;
      double ways = t == 0 && s < 2 ? Sum::kOne : Sum::kNone;
      if (t > 0) {
        ways = before[s];
        if (s > 0) ways = Sum::add(ways, before[s - 1]);
        if (row.skips(s)) ways = Sum::add(ways, before[s - 2]);
      }
      now[s] = Sum::times(ways, e[s]);
    }
    const double total = scale<Sum>(now, S);
    if (total == Sum::kNone) return false;
    log_p += Sum::to_log(total);
  }
  const double* last = alpha + (T - 1) * S;
  const double ending = S > 1 ? Sum::add(last[S - 1], last[S - 2]) : last[S - 1];
  if (ending == Sum::kNone) return false;
  log_p += Sum::to_log(ending);
  for (int64_t t = T - 1; t >= 0; --t) {
    for (int64_t s = 0; s < S; ++s) {
      if (t == T - 1) {
        beta[s] = s + 2 >= S ? Sum::kOne : Sum::kNone;
        continue;
      }
      double ways = next[s];
      if (s + 1 < S) ways = Sum::add(ways, next[s + 1]);
      if (s + 2 < S && row.skips(s + 2)) ways = Sum::add(ways, next[s + 2]);
      beta[s] = ways;
    }
    scale<Sum>(beta, S);
    double* now = alpha + t * S;
    for (int64_t s = 0; s < S; ++s) {
      next[s] = Sum::times(beta[s], emitted[t * S + s]);
      now[s] = Sum::times(now[s], beta[s]);
    }
    if (scale<Sum>(now, S) == Sum::kNone) return false;
  }
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t s = 0; s < S; ++s) {
      const double share = alpha[t * S + s];
      row.dlogits[t * row.columns + row.label(s)] -=
          static_cast<float>(std::is_same<Sum, Logs>::value ? std::exp(share) : share);
    }
  }
  *row.loss = static_cast<float>(-log_p);
  return true;
}

// Writes the softmax to `out`, and the logarithms of its denominators.
void softmax(const float* z, int64_t columns, float* out, double* log_total) {
  float highest = z[0];
  for (int64_t k = 1; k < columns; ++k) highest = z[k] > highest ? z[k] : highest;
  float total = 0;
  for (int64_t k = 0; k < columns; ++k) total += out[k] = std::exp(z[k] - highest);
  for (int64_t k = 0; k < columns; ++k) out[k] /= total;
  *log_total = highest + std::log(static_cast<double>(total));
}

struct Call {
  int64_t rows, steps, columns, longest;
  const float* logits;     // (B, T, K + 1)
  const int32_t* targets;  // (B, 1 + L): frames, labels from 1, zeros
  float *losses, *dlogits;
};

const char* check(const Call& a) {
  for (int64_t b = 0; b < a.rows; ++b) {
    const int32_t* target = a.targets + b * (1 + a.longest);
    if (target[0] < 0 || target[0] > a.steps) return "a row has another number of frames than it says";
    for (int64_t i = 1; i <= a.longest; ++i)
      if (target[i] < 0 || target[i] >= a.columns) return "a label is none of the columns";
  }
  return nullptr;
}

void run(const Call& a, int64_t b, std::vector<double>& memory, std::vector<double>& log_total) {
  const int32_t* target = a.targets + b * (1 + a.longest);
  const int64_t frames = target[0];
  const float* logits = a.logits + b * a.steps * a.columns;
  float* dlogits = a.dlogits + b * a.steps * a.columns;
  int64_t num_labels = 0;
  while (num_labels < a.longest && target[1 + num_labels] > 0) ++num_labels;
  log_total.resize(static_cast<size_t>(frames));
  for (int64_t t = 0; t < frames; ++t)
    softmax(logits + t * a.columns, a.columns, dlogits + t * a.columns, &log_total[t]);
  for (int64_t i = frames * a.columns; i < a.steps * a.columns; ++i) dlogits[i] = 0;
  const Row row{logits, frames, a.columns, target + 1, num_labels, a.losses + b, dlogits, log_total.data()};
  if (frames == 0) {
    a.losses[b] = num_labels ? static_cast<float>(kInfinity) : 0.0f;
    return;
  }
  if (run_row<Plain>(row, memory) || run_row<Logs>(row, memory)) return;
  a.losses[b] = static_cast<float>(kInfinity);  // fewer frames than the labels need: there is no path
  for (int64_t i = 0; i < frames * a.columns; ++i) dlogits[i] = 0;
}

namespace ffi = xla::ffi;

ffi::Error ctc(ffi::Buffer<ffi::F32> logits, ffi::Buffer<ffi::S32> targets,
               ffi::Result<ffi::Buffer<ffi::F32>> losses, ffi::Result<ffi::Buffer<ffi::F32>> dlogits) {
  const auto shape = logits.dimensions(), packed = targets.dimensions();
  if (shape.size() != 3 || packed.size() != 2 || packed[0] != shape[0] || packed[1] < 1 || shape[2] < 1 ||
      static_cast<int64_t>(losses->element_count()) != shape[0] ||
      dlogits->element_count() != logits.element_count())
    return ffi::Error::InvalidArgument("longshort: an array has the wrong number of elements");
  const Call a{shape[0], shape[1], shape[2], packed[1] - 1, logits.typed_data(), targets.typed_data(),
               losses->typed_data(), dlogits->typed_data()};
  if (const char* error = check(a)) return ffi::Error::InvalidArgument(std::string("longshort: ") + error);
  // Some 20 operations a state and frame, of which the exponential has the most.
  const double operations = 100.0 * static_cast<double>(a.rows * a.steps) *
                            static_cast<double>(a.longest + a.columns);
  std::atomic<bool> failed{false};
  run_team(plan_product(operations, free_threads()), [&](const Team& team) {
    try {
      std::vector<double> memory, log_total;
      for (int64_t b = team.index; b < a.rows; b += team.size) run(a, b, memory, log_total);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  });
  return failed ? ffi::Error::Internal("longshort: out of memory") : ffi::Error::Success();
}

}  // namespace
}  // namespace longshort

extern "C" LONGSHORT_API XLA_FFI_Error* longshort_xla_ctc(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_ctc, longshort::ctc,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()   // logits
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()   // targets
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()   // losses
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()); // gradient of the logits
