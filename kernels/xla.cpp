// JAX's door: XLA FFI handlers around the C interface. An array that is absent has zero elements.
#include "lstm.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

using Floats = ffi::Buffer<ffi::F32>;
using Bools = ffi::Buffer<ffi::PRED>;
using FloatsOut = ffi::Result<Floats>;

const float* get(const Floats& b) { return b.element_count() ? b.typed_data() : nullptr; }
const uint8_t* get(const Bools& b) {
  return b.element_count() ? reinterpret_cast<const uint8_t*>(b.typed_data()) : nullptr;
}
float* get(FloatsOut& b) { return b->element_count() ? b->typed_data() : nullptr; }

ffi::Error status(const char* message) {
  return message ? ffi::Error::InvalidArgument(std::string("longshort: ") + message)
                 : ffi::Error::Success();
}

// x (B, T, D) and recurrent_kernel (H, 4H) carry all dimensions.
longshort_lstm call_of(const Floats& x, const Floats& recurrent, bool reverse) {
  longshort_lstm a = {};
  a.batch = x.dimensions()[0];
  a.time = x.dimensions()[1];
  a.features = x.dimensions()[2];
  a.units = recurrent.dimensions()[0];
  a.reverse = reverse;
  a.x = get(x);
  a.recurrent = get(recurrent);
  return a;
}

ffi::Error forward(Floats x, Floats kernel, Floats recurrent, Floats bias, Bools mask, Floats h0,
                   Floats c0, Floats x_dropout, Floats h_dropout, FloatsOut hs, FloatsOut h_last,
                   FloatsOut c_last, FloatsOut gates, FloatsOut cells, bool reverse) {
  longshort_lstm a = call_of(x, recurrent, reverse);
  a.kernel = get(kernel);
  a.bias = get(bias);
  a.mask = get(mask);
  a.h0 = get(h0);
  a.c0 = get(c0);
  a.x_dropout = get(x_dropout);
  a.h_dropout = get(h_dropout);
  a.hs = get(hs);
  a.h_last = get(h_last);
  a.c_last = get(c_last);
  a.gates = get(gates);
  a.cells = get(cells);
  return status(longshort_lstm_forward(&a));
}

ffi::Error backward(Floats x, Floats recurrent, Bools mask, Floats c0, Floats h_dropout,
                    Floats gates, Floats cells, Floats dhs, Floats dh_last, Floats dc_last,
                    FloatsOut dz, FloatsOut dh0, FloatsOut dc0, bool reverse) {
  longshort_lstm a = call_of(x, recurrent, reverse);
  a.mask = get(mask);
  a.c0 = get(c0);
  a.h_dropout = get(h_dropout);
  a.gates = const_cast<float*>(get(gates));  // read only here, as the contract says
  a.cells = const_cast<float*>(get(cells));
  a.dhs = get(dhs);
  a.dh_last = get(dh_last);
  a.dc_last = get(dc_last);
  a.dz = get(dz);
  a.dh0 = get(dh0);
  a.dc0 = get(dc0);
  if (!a.dz) return ffi::Error::Success();  // an empty batch has nothing to write
  return status(longshort_lstm_backward(&a));
}

ffi::Error weight_gradient(Floats x, Floats h0, Floats x_dropout, Floats h_dropout, Floats hs,
                           Floats dz, FloatsOut dkernel, FloatsOut drecurrent, FloatsOut dbias,
                           bool reverse) {
  longshort_lstm a = {};
  a.batch = x.dimensions()[0];
  a.time = x.dimensions()[1];
  a.features = x.dimensions()[2];
  a.units = drecurrent->dimensions()[0];
  a.reverse = reverse;
  a.x = get(x);
  a.h0 = get(h0);
  a.x_dropout = get(x_dropout);
  a.h_dropout = get(h_dropout);
  a.hs = const_cast<float*>(get(hs));
  a.dz = const_cast<float*>(get(dz));
  a.dkernel = get(dkernel);
  a.drecurrent = get(drecurrent);
  a.dbias = get(dbias);
  return status(longshort_lstm_weight_gradient(&a));
}

ffi::Error input_gradient(Floats kernel, Floats x_dropout, Floats dz, FloatsOut dx, bool reverse) {
  longshort_lstm a = {};
  a.batch = dx->dimensions()[0];
  a.time = dx->dimensions()[1];
  a.features = dx->dimensions()[2];
  a.units = kernel.dimensions()[1] / 4;
  a.reverse = reverse;
  a.kernel = get(kernel);
  a.x_dropout = get(x_dropout);
  a.dz = const_cast<float*>(get(dz));
  a.dx = get(dx);
  return status(longshort_lstm_input_gradient(&a));
}

}  // namespace

extern "C" {
LONGSHORT_API XLA_FFI_Error* longshort_xla_forward(XLA_FFI_CallFrame*);
LONGSHORT_API XLA_FFI_Error* longshort_xla_backward(XLA_FFI_CallFrame*);
LONGSHORT_API XLA_FFI_Error* longshort_xla_weight_gradient(XLA_FFI_CallFrame*);
LONGSHORT_API XLA_FFI_Error* longshort_xla_input_gradient(XLA_FFI_CallFrame*);
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_forward, forward,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()   // x (B, T, D)
                                  .Arg<Floats>()   // kernel
                                  .Arg<Floats>()   // recurrent kernel
                                  .Arg<Floats>()   // bias
                                  .Arg<Bools>()    // mask
                                  .Arg<Floats>()   // h0
                                  .Arg<Floats>()   // c0
                                  .Arg<Floats>()   // x_dropout
                                  .Arg<Floats>()   // h_dropout
                                  .Ret<Floats>()   // hs
                                  .Ret<Floats>()   // h_last
                                  .Ret<Floats>()   // c_last
                                  .Ret<Floats>()   // gates
                                  .Ret<Floats>()   // cells
                                  .Attr<bool>("reverse"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_backward, backward,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()   // x, for its shape
                                  .Arg<Floats>()   // recurrent kernel
                                  .Arg<Bools>()    // mask
                                  .Arg<Floats>()   // c0
                                  .Arg<Floats>()   // h_dropout
                                  .Arg<Floats>()   // gates
                                  .Arg<Floats>()   // cells
                                  .Arg<Floats>()   // dhs
                                  .Arg<Floats>()   // dh_last
                                  .Arg<Floats>()   // dc_last
                                  .Ret<Floats>()   // dz
                                  .Ret<Floats>()   // dh0
                                  .Ret<Floats>()   // dc0
                                  .Attr<bool>("reverse"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_weight_gradient, weight_gradient,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()   // x
                                  .Arg<Floats>()   // h0
                                  .Arg<Floats>()   // x_dropout
                                  .Arg<Floats>()   // h_dropout
                                  .Arg<Floats>()   // hs
                                  .Arg<Floats>()   // dz
                                  .Ret<Floats>()   // dkernel
                                  .Ret<Floats>()   // drecurrent
                                  .Ret<Floats>()   // dbias
                                  .Attr<bool>("reverse"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_input_gradient, input_gradient,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()   // kernel
                                  .Arg<Floats>()   // x_dropout
                                  .Arg<Floats>()   // dz
                                  .Ret<Floats>()   // dx
                                  .Attr<bool>("reverse"));
