// Attention of a target over a source: JAX's door to it.
#include <new>

#include "isa.h"
#include "pool.h"
#include "scratch.h"
#include "xla/ffi/api/ffi.h"

namespace longshort {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using FloatsOut = ffi::Result<Floats>;
using Mask = ffi::Buffer<ffi::PRED>;

// Calls row(a, b, thread, scratch) for all rows b of the batch, and end(team) when a thread has none left.
template <class End>
ffi::Error run(const Attention& a, int64_t batch, void (*row)(const Attention&, int64_t, int, float*), End end) {
  // A tanh takes as long as some 40 operations of a product.
  const double each = 4.0 * static_cast<double>(a.size) + (a.v ? 40.0 : 4.0) * static_cast<double>(a.width);
  const double flops = each * static_cast<double>(batch * a.target) * static_cast<double>(a.source);
  const int threads = plan_product(flops, free_threads());
  try {
    const Scratch scratch(kernels().attention_scratch(a, threads));
    run_team(threads, [&](const Team& team) {
      for (int64_t b = team.index; b < batch; b += team.size) row(a, b, team.index, scratch.data());
      end(team);
    });
  } catch (const std::bad_alloc&) {
    return ffi::Error::Internal("longshort: out of memory");
  }
  return ffi::Error::Success();
}

ffi::Error misfit() { return ffi::Error::InvalidArgument("longshort: shapes of an attention that do not fit"); }

template <class Array>
bool has(const Array& array, int64_t size) {
  return static_cast<int64_t>(array.element_count()) == size;
}

// Sizes and arrays that both calls are given, and whether they fit.
bool read(Floats& query, Floats& keys, Floats& values, Mask& mask, Floats& v, Attention& a) {
  const auto q = query.dimensions(), k = keys.dimensions(), x = values.dimensions(), real = mask.dimensions();
  if (q.size() != 3 || k.size() != 3 || x.size() != 3 || real.size() != 2) return false;
  a = Attention{};
  a.target = q[1], a.source = k[1], a.width = q[2], a.size = x[2];
  a.query = query.typed_data(), a.keys = keys.typed_data(), a.values = values.typed_data();
  a.mask = mask.typed_data();
  if (v.element_count()) a.v = v.typed_data();
  return k[0] == q[0] && x[0] == q[0] && real[0] == q[0] && x[1] == a.source && real[1] == a.source &&
         k[2] == a.width && (!a.v || has(v, a.width));
}

ffi::Error attention(Floats query, Floats keys, Floats values, Mask mask, Floats v, FloatsOut context,
                     FloatsOut weights) {
  Attention a;
  if (!read(query, keys, values, mask, v, a)) return misfit();
  const int64_t B = query.dimensions()[0];
  if (!has(*context, B * a.target * a.size) || !has(*weights, B * a.target * a.source)) return misfit();
  a.context = context->typed_data(), a.weights = weights->typed_data();
  return run(a, B, kernels().attend_row, [](const Team&) {});
}

ffi::Error attention_gradient(Floats query, Floats keys, Floats values, Mask mask, Floats v, Floats weights,
                              Floats dcontext, Floats dweights, FloatsOut dquery, FloatsOut dkeys,
                              FloatsOut dvalues, FloatsOut dv, FloatsOut dv_rows) {
  Attention a;
  if (!read(query, keys, values, mask, v, a)) return misfit();
  const int64_t B = query.dimensions()[0], all = B * a.target * a.source, each = a.v ? a.width : 0;
  if (!has(weights, all) || !has(dweights, all) || !has(dcontext, B * a.target * a.size) ||
      !has(*dquery, B * a.target * a.width) || !has(*dkeys, B * a.source * a.width) ||
      !has(*dvalues, B * a.source * a.size) || !has(*dv, each) || !has(*dv_rows, B * each))
    return misfit();
  a.weights = weights.typed_data();
  a.dcontext = dcontext.typed_data(), a.dweights = dweights.typed_data();
  a.dquery = dquery->typed_data(), a.dkeys = dkeys->typed_data(), a.dvalues = dvalues->typed_data();
  a.dv_rows = dv_rows->typed_data();
  return run(a, B, kernels().attend_row_gradient, [&](const Team& team) {
    if (!a.v) return;
    team.wait();
    // In the order of the rows, whatever the number of threads.
    const Range own = part(a.width, team.index, team.size);
    float* sums = dv->typed_data();
    for (int64_t i = own.begin; i < own.end; ++i) sums[i] = 0;
    for (int64_t b = 0; b < B; ++b)
      for (int64_t i = own.begin; i < own.end; ++i) sums[i] += a.dv_rows[b * a.width + i];
  });
}

}  // namespace
}  // namespace longshort

extern "C" {
LONGSHORT_API XLA_FFI_Error* longshort_xla_attention(XLA_FFI_CallFrame*);
LONGSHORT_API XLA_FFI_Error* longshort_xla_attention_gradient(XLA_FFI_CallFrame*);
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_attention, longshort::attention,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()   // query
                                  .Arg<longshort::Floats>()   // keys
                                  .Arg<longshort::Floats>()   // values
                                  .Arg<longshort::Mask>()     // mask
                                  .Arg<longshort::Floats>()   // v, without elements: none
                                  .Ret<longshort::Floats>()   // context
                                  .Ret<longshort::Floats>()); // weights
XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_attention_gradient, longshort::attention_gradient,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()   // query
                                  .Arg<longshort::Floats>()   // keys
                                  .Arg<longshort::Floats>()   // values
                                  .Arg<longshort::Mask>()     // mask
                                  .Arg<longshort::Floats>()   // v
                                  .Arg<longshort::Floats>()   // weights
                                  .Arg<longshort::Floats>()   // dcontext
                                  .Arg<longshort::Floats>()   // dweights
                                  .Ret<longshort::Floats>()   // dquery
                                  .Ret<longshort::Floats>()   // dkeys
                                  .Ret<longshort::Floats>()   // dvalues
                                  .Ret<longshort::Floats>()   // dv
                                  .Ret<longshort::Floats>()); // dv of each row of the batch
