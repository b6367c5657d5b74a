// A convolution over time: JAX's door to it.
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

// Runs one of the three calls on a team.
template <class Member>
ffi::Error run(const Convolution& a, Member call) {
  if (a.stride < 1 || a.left < 0) return ffi::Error::InvalidArgument("longshort: a stride or padding below its least");
  const double flops = 2.0 * static_cast<double>(a.batch * a.steps) * static_cast<double>(a.depth() * a.channels);
  const int threads = plan_product(flops, free_threads());
  const Kernels& k = kernels();
  try {
    const Scratch scratch(k.convolution_scratch(a, threads));
    run_team(threads, [&](const Team& team) { (k.*call)(a, scratch.data(), team); });
  } catch (const std::bad_alloc&) {
    return ffi::Error::Internal("longshort: out of memory");
  }
  return ffi::Error::Success();
}

using Shape = ffi::Span<const int64_t>;

// The sizes of a call, from the shapes of x, kernel and y; features of 0 where they do not fit.
Convolution sizes(Shape x, Shape kernel, Shape y, int64_t stride, int64_t left) {
  Convolution a = {};
  if (x.size() != 3 || kernel.size() != 3 || y.size() != 3 || y[0] != x[0] || kernel[1] != x[2] || y[2] != kernel[2])
    return a;
  a.batch = x[0], a.time = x[1], a.features = x[2];
  a.width = kernel[0], a.stride = stride, a.left = left;
  a.steps = y[1], a.channels = kernel[2];
  return a;
}
ffi::Error misfit() { return ffi::Error::InvalidArgument("longshort: shapes of a convolution that do not fit"); }

ffi::Error convolution(Floats x, Floats kernel, Floats bias, FloatsOut y, int64_t stride, int64_t left) {
  Convolution a = sizes(x.dimensions(), kernel.dimensions(), y->dimensions(), stride, left);
  if (!a.features || static_cast<int64_t>(bias.element_count()) != a.channels) return misfit();
  a.x = x.typed_data(), a.kernel = kernel.typed_data(), a.bias = bias.typed_data(), a.y = y->typed_data();
  return run(a, &Kernels::convolution);
}

ffi::Error convolution_weights(Floats x, Floats dy, FloatsOut dkernel, FloatsOut dbias, int64_t stride,
                               int64_t left) {
  Convolution a = sizes(x.dimensions(), dkernel->dimensions(), dy.dimensions(), stride, left);
  if (!a.features || static_cast<int64_t>(dbias->element_count()) != a.channels) return misfit();
  a.x = x.typed_data(), a.dy = dy.typed_data();
  a.dkernel = dkernel->typed_data(), a.dbias = dbias->typed_data();
  return run(a, &Kernels::convolution_weights);
}

ffi::Error convolution_input(Floats kernel, Floats dy, FloatsOut dx, int64_t stride, int64_t left) {
  Convolution a = sizes(dx->dimensions(), kernel.dimensions(), dy.dimensions(), stride, left);
  if (!a.features) return misfit();
  a.kernel = kernel.typed_data(), a.dy = dy.typed_data(), a.dx = dx->typed_data();
  return run(a, &Kernels::convolution_input);
}

}  // namespace
}  // namespace longshort

extern "C" {
LONGSHORT_API XLA_FFI_Error* longshort_xla_convolution(XLA_FFI_CallFrame*);
LONGSHORT_API XLA_FFI_Error* longshort_xla_convolution_weights(XLA_FFI_CallFrame*);
LONGSHORT_API XLA_FFI_Error* longshort_xla_convolution_input(XLA_FFI_CallFrame*);
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_convolution, longshort::convolution,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()  // x
                                  .Arg<longshort::Floats>()  // kernel
                                  .Arg<longshort::Floats>()  // bias
                                  .Ret<longshort::Floats>()  // y
                                  .Attr<int64_t>("stride")
                                  .Attr<int64_t>("left"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_convolution_weights, longshort::convolution_weights,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()  // x
                                  .Arg<longshort::Floats>()  // dy
                                  .Ret<longshort::Floats>()  // dkernel
                                  .Ret<longshort::Floats>()  // dbias
                                  .Attr<int64_t>("stride")
                                  .Attr<int64_t>("left"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_convolution_input, longshort::convolution_input,
                              xla::ffi::Ffi::Bind()
                                  .Arg<longshort::Floats>()  // kernel
                                  .Arg<longshort::Floats>()  // dy
                                  .Ret<longshort::Floats>()  // dx
                                  .Attr<int64_t>("stride")
                                  .Attr<int64_t>("left"));
