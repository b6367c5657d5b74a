// The largest value and the mean of each channel over time: JAX's door to them.
#include "isa.h"
#include "pool.h"
#include "xla/ffi/api/ffi.h"

namespace longshort {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using FloatsOut = ffi::Result<Floats>;
using Mask = ffi::Buffer<ffi::PRED>;

void run(const Pooling& a, int64_t rows, void (*row)(const Pooling&, int64_t)) {
  // Some five operations a value, of which the memory takes longer.
  const double flops = 10.0 * static_cast<double>(rows * a.steps * a.size);
  run_team(plan_product(flops, free_threads()), [&](const Team& team) {
    for (int64_t b = team.index; b < rows; b += team.size) row(a, b);
  });
}

// Whether the arrays are x (B, T, D), its mask (B, T) and `others` (B, D).
template <class... Others>
bool fits(const Floats& x, const Mask& mask, const Others&... others) {
  const auto shape = x.dimensions(), real = mask.dimensions();
  if (shape.size() != 3 || real.size() != 2 || real[0] != shape[0] || real[1] != shape[1]) return false;
  return ((static_cast<int64_t>(others.element_count()) == shape[0] * shape[2]) && ...);
}
ffi::Error misfit() { return ffi::Error::InvalidArgument("longshort: shapes of a pooling that do not fit"); }

Pooling sizes(Floats& x, Mask& mask) {
  Pooling a = {};
  a.steps = x.dimensions()[1], a.size = x.dimensions()[2];
  a.x = x.typed_data(), a.mask = mask.typed_data();
  return a;
}

ffi::Error pool(Floats x, Mask mask, FloatsOut largest, FloatsOut mean, FloatsOut ties) {
  if (!fits(x, mask, *largest, *mean, *ties)) return misfit();
  Pooling a = sizes(x, mask);
  a.largest = largest->typed_data(), a.mean = mean->typed_data(), a.ties = ties->typed_data();
  run(a, x.dimensions()[0], kernels().pool_row);
  return ffi::Error::Success();
}

ffi::Error pool_gradient(Floats x, Mask mask, Floats largest, Floats ties, Floats dlargest, Floats dmean,
                         FloatsOut dx) {
  if (!fits(x, mask, largest, ties, dlargest, dmean) || dx->element_count() != x.element_count())
    return misfit();
  Pooling a = sizes(x, mask);
  a.largest = largest.typed_data(), a.ties = ties.typed_data();
  a.dlargest = dlargest.typed_data(), a.dmean = dmean.typed_data(), a.dx = dx->typed_data();
  run(a, x.dimensions()[0], kernels().pool_row_gradient);
  return ffi::Error::Success();
}

}  // namespace
}  // namespace longshort

extern "C" {
LONGSHORT_API XLA_FFI_Error* longshort_xla_pool(XLA_FFI_CallFrame*);
LONGSHORT_API XLA_FFI_Error* longshort_xla_pool_gradient(XLA_FFI_CallFrame*);
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_pool, longshort::pool,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()   // x
                                  .Arg<longshort::Mask>()     // mask
                                  .Ret<longshort::Floats>()   // largest
                                  .Ret<longshort::Floats>()   // mean
                                  .Ret<longshort::Floats>()); // ties
XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_pool_gradient, longshort::pool_gradient,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()   // x
                                  .Arg<longshort::Mask>()     // mask
                                  .Arg<longshort::Floats>()   // largest
                                  .Arg<longshort::Floats>()   // ties
                                  .Arg<longshort::Floats>()   // dlargest
                                  .Arg<longshort::Floats>()   // dmean
                                  .Ret<longshort::Floats>()); // dx
