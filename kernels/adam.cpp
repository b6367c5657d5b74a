// A step of Adam (Kingma and Ba 2015) on all weights of a model in one call, in place, the norm of all
// gradients bounded: JAX's door to it.
#include <cmath>
#include <new>
#include <vector>

#include "isa.h"
#include "pool.h"
#include "xla/ffi/api/ffi.h"

namespace longshort {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;

// Sums of squares are of so many weights each, whatever the number of threads.
constexpr int64_t kStretch = 4096;

struct Stretch {
  int64_t size;
  const float* gradient;
  float *weights, *mean, *square;
};

ffi::Error run(const AdamStep& a, const std::vector<Stretch>& stretches) {
  const auto count = static_cast<int64_t>(stretches.size());
  std::vector<double> sums(stretches.size());
  const Kernels& k = kernels();
  // Some 20 operations a weight, of which the memory takes longer.
  const double flops = 40.0 * static_cast<double>(kStretch * count);
  run_team(plan_product(flops, free_threads()), [&](const Team& team) {
    const Range own = part(count, team.index, team.size);
    float scale = 1;
    if (a.clip > 0) {
      for (int64_t i = own.begin; i < own.end; ++i)
        sums[i] = k.sum_of_squares(stretches[i].gradient, stretches[i].size);
      team.wait();
      double total = 0;
      for (const double sum : sums) total += sum;
      // As Keras has it: not a number where the norm is none.
      const auto norm = static_cast<float>(std::sqrt(total));
      scale = norm <= a.clip ? 1 : a.clip / norm + (norm - norm);
    }
    for (int64_t i = own.begin; i < own.end; ++i) {
      const Stretch& s = stretches[i];
      k.adam(a, scale, s.size, s.gradient, s.weights, s.mean, s.square);
    }
  });
  return ffi::Error::Success();
}

// Arguments: the rate, and of each array gradient, weights, m and v; results: its new weights, m and v, which
// lie where the old ones lay.
ffi::Error adam(Floats rate, ffi::RemainingArgs given, ffi::RemainingRets made, double beta_1, double beta_2,
                double epsilon, double clip) {
  const auto fail = [] { return ffi::Error::InvalidArgument("longshort: arrays of Adam that do not fit"); };
  const size_t arrays = given.size() / 4;
  if (rate.element_count() != 1 || given.size() != 4 * arrays || made.size() != 3 * arrays) return fail();
  const AdamStep a{*rate.typed_data(), static_cast<float>(1 - beta_1), static_cast<float>(1 - beta_2),
                   static_cast<float>(epsilon), static_cast<float>(clip)};
  try {
    std::vector<Stretch> stretches;
    for (size_t i = 0; i < arrays; ++i) {
      const auto gradient = given.get<Floats>(4 * i);
      if (!gradient.has_value()) return fail();
      const auto size = static_cast<int64_t>(gradient->element_count());
      float* places[3];
      for (size_t j = 0; j < 3; ++j) {
        auto before = given.get<Floats>(4 * i + 1 + j);
        auto after = made.get<Floats>(3 * i + j);
        if (!before.has_value() || !after.has_value() || static_cast<int64_t>(before->element_count()) != size ||
            (*after)->typed_data() != before->typed_data())
          return fail();
        places[j] = (*after)->typed_data();
      }
      for (int64_t from = 0; from < size; from += kStretch)
        stretches.push_back({smaller(kStretch, size - from), gradient->typed_data() + from, places[0] + from,
                             places[1] + from, places[2] + from});
    }
    return run(a, stretches);
  } catch (const std::bad_alloc&) {
    return ffi::Error::Internal("longshort: out of memory");
  }
}

}  // namespace
}  // namespace longshort

extern "C" LONGSHORT_API XLA_FFI_Error* longshort_xla_adam(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_adam, longshort::adam,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()  // rate
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<double>("beta_1")
                                  .Attr<double>("beta_2")
                                  .Attr<double>("epsilon")
                                  .Attr<double>("clip"));
