// The C interface: checks, choice of instruction set, plan, scratch, team.
#include "lstm.h"

#include <atomic>
#include <cstring>
#include <new>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "isa.h"
#include "pool.h"
#include "scratch.h"

namespace longshort {

// Three quarters of a second-level cache of 1 MB: the rest is for rows of x, h and gates.
constexpr int64_t kOwnCache = 768 * 1024;
// A thread must have this much to do before it is worth waking: between two barriers, where one
// costs about a microsecond, and in a whole call, some 50 microseconds of work.
constexpr double kFlopsPerStep = 2e5;
constexpr double kFlopsPerCall = 1e7;

int plan_product(double flops, int num_threads) {
  const int worth = static_cast<int>(smaller(static_cast<int64_t>(flops / kFlopsPerCall), 256));
  return worth < 1 ? 1 : worth < num_threads ? worth : num_threads;
}

Plan plan_steps(const longshort_lstm& a, int num_threads) {
  const int64_t blocks = blocks_of(a.units);
  const int64_t depth = a.features + a.units;
  const double flops = 2.0 * a.batch * depth * kGates * a.units;
  const int64_t weights = depth * blocks * kTile * static_cast<int64_t>(sizeof(float));
  const int threads = plan_product(flops * a.time, num_threads);
  if (weights <= kOwnCache && a.batch >= 4 * threads) return Plan{threads, true};
  const int worth = static_cast<int>(smaller(static_cast<int64_t>(flops / kFlopsPerStep), 256));
  const int by_units = static_cast<int>(smaller(smaller(threads, blocks), worth < 1 ? 1 : worth));
  return Plan{by_units, false};
}

bool supports_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("fma");
#else
  return false;
#endif
}
bool supports_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}
bool supports_portable() { return true; }

namespace {

const Kernels* const kAll[] = {
#if defined(__x86_64__)
    &kAvx512,
    &kAvx2,
#endif
    &kPortable,
};

const Kernels* best() {
  for (const Kernels* k : kAll)
    if (k->supported()) return k;
  return &kPortable;
}

std::atomic<const Kernels*> chosen{nullptr};

const Kernels& kernels() {
  const Kernels* k = chosen.load(std::memory_order_acquire);
  if (!k) {
    k = best();
    chosen.store(k, std::memory_order_release);
  }
  return *k;
}

const char* check_shape(const longshort_lstm* a) {
  if (!a) return "no arguments";
  if (a->batch < 0 || a->time < 0) return "batch and time must not be negative";
  if (a->features < 1 || a->units < 1) return "features and units must be at least 1";
  constexpr int64_t limit = int64_t{1} << 31;
  if (a->batch >= limit || a->time >= limit || a->features >= limit || a->units >= limit)
    return "a dimension is 2^31 or more";
  return nullptr;
}

constexpr const char* kMissing = "an array that may not be null is null";

void copy_or_zero(float* out, const float* in, int64_t n) {
  if (!out || n == 0) return;
  if (in) {
    std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
  } else {
    std::memset(out, 0, static_cast<size_t>(n) * sizeof(float));
  }
}

// No exception may cross the C border; the only one that can arise is want of memory.
template <class Body>
const char* guarded(Body body) {
  try {
    body();
    return nullptr;
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (...) {
    return "unexpected failure in the kernel library";
  }
}

double product_flops(const longshort_lstm& a, int64_t depth) {
  return 2.0 * static_cast<double>(a.batch * a.time) * static_cast<double>(depth * kGates * a.units);
}

}  // namespace
}  // namespace longshort

using namespace longshort;

extern "C" {

const char* longshort_lstm_forward(const longshort_lstm* a) {
  if (const char* error = check_shape(a)) return error;
  if (!a->gates != !a->cells) return "gates and cells must be given together";
  if (a->gates && !a->hs) return "hs must be given where gates and cells are";
  if (a->batch * a->time == 0) {
    copy_or_zero(a->h_last, a->h0, a->batch * a->units);
    copy_or_zero(a->c_last, a->c0, a->batch * a->units);
    return nullptr;
  }
  if (!a->x || !a->kernel || !a->recurrent || !a->h_last || !a->c_last) return kMissing;
  return guarded([&] {
    const Kernels& k = kernels();
    const Plan plan = plan_steps(*a, num_threads());
    // The team may turn out smaller than planned (its workers are busy): then it is one thread.
    const Scratch scratch(k.forward_scratch(*a, plan.threads));
    run_team(plan.threads, [&](const Team& team) {
      k.forward(*a, Plan{team.size, plan.by_rows}, scratch.data(), team);
    });
  });
}

const char* longshort_lstm_backward(const longshort_lstm* a) {
  if (const char* error = check_shape(a)) return error;
  if (a->batch * a->time == 0) {
    copy_or_zero(a->dh0, a->dh_last, a->batch * a->units);
    copy_or_zero(a->dc0, a->dc_last, a->batch * a->units);
    return nullptr;
  }
  if (!a->recurrent || !a->gates || !a->cells || !a->dz) return kMissing;
  return guarded([&] {
    const Kernels& k = kernels();
    const Plan plan = plan_steps(*a, num_threads());
    const Scratch scratch(k.backward_scratch(*a));
    run_team(plan.threads, [&](const Team& team) {
      k.backward(*a, Plan{team.size, plan.by_rows}, scratch.data(), team);
    });
  });
}

const char* longshort_lstm_weight_gradient(const longshort_lstm* a) {
  if (const char* error = check_shape(a)) return error;
  if (a->batch * a->time == 0) {
    copy_or_zero(a->dkernel, nullptr, a->features * kGates * a->units);
    copy_or_zero(a->drecurrent, nullptr, a->units * kGates * a->units);
    copy_or_zero(a->dbias, nullptr, kGates * a->units);
    return nullptr;
  }
  if (!a->x || !a->hs || !a->dz || !a->dkernel || !a->drecurrent) return kMissing;
  return guarded([&] {
    const Kernels& k = kernels();
    const int threads = plan_product(product_flops(*a, a->features + a->units), num_threads());
    // Enough for the planned team, and for a team of one.
    const int64_t one = k.weight_gradient_scratch(*a, 1);
    const int64_t all = k.weight_gradient_scratch(*a, threads);
    const Scratch scratch(all > one ? all : one);
    run_team(threads, [&](const Team& team) { k.weight_gradient(*a, scratch.data(), team); });
  });
}

const char* longshort_lstm_input_gradient(const longshort_lstm* a) {
  if (const char* error = check_shape(a)) return error;
  if (a->batch * a->time == 0) return nullptr;
  if (!a->kernel || !a->dz || !a->dx) return kMissing;
  return guarded([&] {
    const Kernels& k = kernels();
    const int threads = plan_product(product_flops(*a, a->features), num_threads());
    const Scratch scratch(k.input_gradient_scratch(*a));
    run_team(threads, [&](const Team& team) { k.input_gradient(*a, scratch.data(), team); });
  });
}

const char* longshort_isa(void) { return kernels().name; }

const char* longshort_set_isa(const char* name) {
  if (!name) {
    chosen.store(best(), std::memory_order_release);
    return nullptr;
  }
  for (const Kernels* k : kAll) {
    if (std::strcmp(k->name, name) != 0) continue;
    if (!k->supported()) return "this CPU lacks that instruction set";
    chosen.store(k, std::memory_order_release);
    return nullptr;
  }
  return "unknown instruction set";
}

int longshort_num_threads(void) { return num_threads(); }

const char* longshort_set_num_threads(int n) {
  return set_num_threads(n) ? nullptr : "the number of threads must be from 1 to 256";
}

int longshort_keep_pages(void) {
#if defined(__GLIBC__)
  constexpr int kMebibyte = 1 << 20;
  return mallopt(M_MMAP_THRESHOLD, 1024 * kMebibyte) && mallopt(M_TRIM_THRESHOLD, 2047 * kMebibyte) &&
         mallopt(M_TOP_PAD, 64 * kMebibyte);
#else
  return 0;
#endif
}

}  // extern "C"
