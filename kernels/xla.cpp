// JAX's door: XLA FFI handlers around the C interface. An array that is absent has zero elements.
#include "lstm.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

using Floats = ffi::Buffer<ffi::F32>;
using Bools = ffi::Buffer<ffi::PRED>;
using FloatsOut = ffi::Result<Floats>;

// Fills one call. Every array's number of elements is compared with the call's dimensions before a
// kernel may follow its pointer; the Python side gives the sentence that says which one is wrong.
class Call {
 public:
  Call(int64_t batch, int64_t time, int64_t features, int64_t units, bool reverse) {
    a.batch = batch;
    a.time = time;
    a.features = features;
    a.units = units;
    a.reverse = reverse;
    blocks = (units + 15) / 16;
  }
  template <class Buffer>
  Call(const Buffer& x, int64_t units, bool reverse)
      : Call(axis(x, 0), axis(x, 1), axis(x, 2), units, reverse) {
    fits = fits && x.dimensions().size() == 3;
  }

  template <class Buffer>
  static int64_t axis(const Buffer& b, size_t i) {
    return i < b.dimensions().size() ? b.dimensions()[i] : 0;
  }

  const float* take(const Floats& b, int64_t size) {
    check(b.element_count(), size);
    return b.element_count() ? b.typed_data() : nullptr;
  }
  const uint8_t* take(const Bools& b, int64_t size) {
    check(b.element_count(), size);
    return b.element_count() ? reinterpret_cast<const uint8_t*>(b.typed_data()) : nullptr;
  }
  float* take(FloatsOut& b, int64_t size) { return const_cast<float*>(take(*b, size)); }
  // Arrays that the contract's struct names as outputs but this function only reads.
  float* saved(const Floats& b, int64_t size) { return const_cast<float*>(take(b, size)); }

  // Sizes by their letters: B batch, T time, D features, H units, G = 4H.
  int64_t bt() const { return a.batch * a.time; }
  int64_t btd() const { return bt() * a.features; }
  int64_t bth() const { return bt() * a.units; }
  int64_t bh() const { return a.batch * a.units; }
  int64_t dg() const { return a.features * 4 * a.units; }
  int64_t hg() const { return a.units * 4 * a.units; }
  int64_t gates() const { return blocks * bt() * 64; }
  int64_t cells() const { return blocks * bt() * 16; }

  ffi::Error run(const char* (*kernel)(const longshort_lstm*)) const {
    const char* error = fits ? kernel(&a) : "an array has the wrong number of elements";
    return error ? ffi::Error::InvalidArgument(std::string("longshort: ") + error)
                 : ffi::Error::Success();
  }

  longshort_lstm a = {};

 private:
  void check(int64_t count, int64_t size) { fits = fits && (count == 0 || count == size); }
  int64_t blocks = 0;
  bool fits = true;
};

ffi::Error forward(Floats x, Floats kernel, Floats recurrent, Floats bias, Bools mask, Floats h0,
                   Floats c0, Floats x_dropout, Floats h_dropout, FloatsOut hs, FloatsOut h_last,
                   FloatsOut c_last, FloatsOut gates, FloatsOut cells, bool reverse) {
  Call call(x, Call::axis(recurrent, 0), reverse);
  longshort_lstm& a = call.a;
  a.x = call.take(x, call.btd());
  a.kernel = call.take(kernel, call.dg());
  a.recurrent = call.take(recurrent, call.hg());
  a.bias = call.take(bias, 4 * a.units);
  a.mask = call.take(mask, call.bt());
  a.h0 = call.take(h0, call.bh());
  a.c0 = call.take(c0, call.bh());
  a.x_dropout = call.take(x_dropout, 4 * a.batch * a.features);
  a.h_dropout = call.take(h_dropout, 4 * call.bh());
  a.hs = call.take(hs, call.bth());
  a.h_last = call.take(h_last, call.bh());
  a.c_last = call.take(c_last, call.bh());
  a.gates = call.take(gates, call.gates());
  a.cells = call.take(cells, call.cells());
  return call.run(longshort_lstm_forward);
}

ffi::Error backward(Floats x, Floats recurrent, Bools mask, Floats c0, Floats h_dropout,
                    Floats gates, Floats cells, Floats dhs, Floats dh_last, Floats dc_last,
                    FloatsOut dz, FloatsOut dh0, FloatsOut dc0, bool reverse) {
  Call call(x, Call::axis(recurrent, 0), reverse);
  longshort_lstm& a = call.a;
  a.recurrent = call.take(recurrent, call.hg());
  a.mask = call.take(mask, call.bt());
  a.c0 = call.take(c0, call.bh());
  a.h_dropout = call.take(h_dropout, 4 * call.bh());
  a.gates = call.saved(gates, call.gates());
  a.cells = call.saved(cells, call.cells());
  a.dhs = call.take(dhs, call.bth());
  a.dh_last = call.take(dh_last, call.bh());
  a.dc_last = call.take(dc_last, call.bh());
  a.dz = call.take(dz, call.gates());
  a.dh0 = call.take(dh0, call.bh());
  a.dc0 = call.take(dc0, call.bh());
  return call.run(longshort_lstm_backward);
}

ffi::Error weight_gradient(Floats x, Floats h0, Floats x_dropout, Floats h_dropout, Floats hs,
                           Floats dz, FloatsOut dkernel, FloatsOut drecurrent, FloatsOut dbias,
                           bool reverse) {
  Call call(x, Call::axis(*drecurrent, 0), reverse);
  longshort_lstm& a = call.a;
  a.x = call.take(x, call.btd());
  a.h0 = call.take(h0, call.bh());
  a.x_dropout = call.take(x_dropout, 4 * a.batch * a.features);
  a.h_dropout = call.take(h_dropout, 4 * call.bh());
  a.hs = call.saved(hs, call.bth());
  a.dz = call.saved(dz, call.gates());
  a.dkernel = call.take(dkernel, call.dg());
  a.drecurrent = call.take(drecurrent, call.hg());
  a.dbias = call.take(dbias, 4 * a.units);
  return call.run(longshort_lstm_weight_gradient);
}

ffi::Error input_gradient(Floats kernel, Floats x_dropout, Floats dz, FloatsOut dx, bool reverse) {
  Call call(*dx, Call::axis(kernel, 1) / 4, reverse);
  longshort_lstm& a = call.a;
  a.kernel = call.take(kernel, call.dg());
  a.x_dropout = call.take(x_dropout, 4 * a.batch * a.features);
  a.dz = call.saved(dz, call.gates());
  a.dx = call.take(dx, call.btd());
  return call.run(longshort_lstm_input_gradient);
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
