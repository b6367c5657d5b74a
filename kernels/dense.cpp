// A dense layer over many rows: JAX's door to it.
#include <cstring>
#include <new>
#include <vector>

#include "isa.h"
#include "pool.h"
#include "scratch.h"
#include "xla/ffi/api/ffi.h"

namespace longshort {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using FloatsOut = ffi::Result<Floats>;

ffi::Error run(const Dense& a, int64_t (*size)(const Dense&, int), void (*call)(const Dense&, float*, const Team&)) {
  const double flops = 2.0 * static_cast<double>(a.count) * static_cast<double>(a.features * a.units);
  const int threads = plan_product(flops, free_threads());
  const Scratch scratch(size(a, threads));
  run_team(threads, [&](const Team& team) { call(a, scratch.data(), team); });
  return ffi::Error::Success();
}

// The rows of dy that are not zero.
std::vector<int64_t> real_rows(const float* dy, int64_t rows, int64_t units) {
  std::vector<int64_t> real;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t n = 0;
    while (n < units && dy[r * units + n] == 0) ++n;
    if (n < units) real.push_back(r);
  }
  return real;
}

// Rows that nothing is written of get zeros.
void clear_others(const std::vector<int64_t>& real, int64_t rows, int64_t features, float* dx) {
  int64_t next = 0;  // the first row that nothing is known of
  for (size_t i = 0; i <= real.size(); ++i) {
    const int64_t until = i < real.size() ? real[i] : rows;
    std::memset(dx + next * features, 0, static_cast<size_t>((until - next) * features) * sizeof(float));
    next = until + 1;
  }
}

// The sizes of a call; false where rows (n, ..) and `more` of them, weights (D, C) and made (n, C) do not fit.
using Shape = ffi::Span<const int64_t>;
bool fits(Shape rows, Shape more, Shape weights, Shape made, int32_t activation, Dense& a) {
  if (rows.size() != 2 || more.size() != 2 || weights.size() != 2 || made.size() != 2) return false;
  a = Dense{};
  a.more_features = more[1], a.features = weights[0], a.units = weights[1], a.count = rows[0];
  a.activation = activation;
  return rows[1] + more[1] == a.features && more[0] == rows[0] && made[0] == rows[0] && made[1] == a.units &&
         rows[1] > 0 && a.units > 0;
}
// The outputs that a gradient needs: none of a linear layer.
bool give_outputs(Floats y, Shape dy, Dense& a) {
  if (a.activation == LONGSHORT_LINEAR) return true;
  a.made = y.typed_data();
  return y.dimensions().size() == 2 && y.dimensions()[0] == dy[0] && y.dimensions()[1] == dy[1];
}
ffi::Error misfit() { return ffi::Error::InvalidArgument("longshort: shapes of a dense layer that do not fit"); }
ffi::Error no_memory() { return ffi::Error::Internal("longshort: out of memory"); }

ffi::Error dense(Floats x, Floats more, Floats weights, Floats bias, FloatsOut y, int32_t activation) {
  Dense a;
  const auto has_bias = static_cast<int64_t>(bias.element_count());
  if (!fits(x.dimensions(), more.dimensions(), weights.dimensions(), y->dimensions(), activation, a) ||
      (has_bias && has_bias != a.units))
    return misfit();
  a.x = x.typed_data(), a.more = more.typed_data(), a.weights = weights.typed_data(), a.y = y->typed_data();
  if (has_bias) a.bias = bias.typed_data();
  try {
    return run(a, kernels().dense_scratch, kernels().dense);
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
}

ffi::Error dense_input(Floats weights, Floats dy, Floats y, FloatsOut dx, FloatsOut dmore, int32_t activation) {
  Dense a;
  if (!fits(dx->dimensions(), dmore->dimensions(), weights.dimensions(), dy.dimensions(), activation, a) ||
      !give_outputs(y, dy.dimensions(), a))
    return misfit();
  a.weights = weights.typed_data(), a.dy = dy.typed_data();
  a.dx = dx->typed_data(), a.dmore = dmore->typed_data();
  try {
    const std::vector<int64_t> real = real_rows(a.dy, a.count, a.units);
    clear_others(real, a.count, a.features - a.more_features, a.dx);
    if (a.more_features) clear_others(real, a.count, a.more_features, a.dmore);
    a.real = real.data(), a.count = static_cast<int64_t>(real.size());
    return run(a, kernels().dense_scratch, kernels().dense);
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
}

ffi::Error dense_weights(Floats x, Floats more, Floats dy, Floats y, FloatsOut dweights, FloatsOut dbias,
                         int32_t activation) {
  Dense a;
  if (!fits(x.dimensions(), more.dimensions(), dweights->dimensions(), dy.dimensions(), activation, a) ||
      !give_outputs(y, dy.dimensions(), a) || static_cast<int64_t>(dbias->element_count()) != a.units)
    return misfit();
  a.x = x.typed_data(), a.more = more.typed_data(), a.dy = dy.typed_data();
  a.dweights = dweights->typed_data(), a.dbias = dbias->typed_data();
  try {
    const std::vector<int64_t> real = real_rows(a.dy, a.count, a.units);
    a.real = real.data(), a.count = static_cast<int64_t>(real.size());
    return run(a, kernels().dense_weights_scratch, kernels().dense_weights);
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
}

}  // namespace
}  // namespace longshort

extern "C" {
LONGSHORT_API XLA_FFI_Error* longshort_xla_dense(XLA_FFI_CallFrame*);
LONGSHORT_API XLA_FFI_Error* longshort_xla_dense_input(XLA_FFI_CallFrame*);
LONGSHORT_API XLA_FFI_Error* longshort_xla_dense_weights(XLA_FFI_CallFrame*);
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_dense, longshort::dense,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()   // x
                                  .Arg<longshort::Floats>()   // the features behind those of x
                                  .Arg<longshort::Floats>()   // W
                                  .Arg<longshort::Floats>()   // b, without elements: none
                                  .Ret<longshort::Floats>()   // y
                                  .Attr<int32_t>("activation"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_dense_input, longshort::dense_input,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()   // W
                                  .Arg<longshort::Floats>()   // dy
                                  .Arg<longshort::Floats>()   // y, or anything where the layer is linear
                                  .Ret<longshort::Floats>()   // dx
                                  .Ret<longshort::Floats>()   // the same of the features behind those of x
                                  .Attr<int32_t>("activation"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_dense_weights, longshort::dense_weights,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()   // x
                                  .Arg<longshort::Floats>()   // the features behind those of x
                                  .Arg<longshort::Floats>()   // dy
                                  .Arg<longshort::Floats>()   // y
                                  .Ret<longshort::Floats>()   // dW
                                  .Ret<longshort::Floats>()   // db
                                  .Attr<int32_t>("activation"));
