// JAX's door: XLA FFI handlers around the C interface. An array that is absent has zero elements.
//
// A call is of N layers with the same mask: one, two directions, or the heads of an sLSTM. What belongs
// to one layer has a leading axis N (x may do without: then all read the same), and hs is (B, T, N, P):
// the outputs side by side, as Bidirectional joins them. The weights of two directions, and their gradients,
// are two arrays of N = 1, so that nobody has to join them. Of two directions the second is the reverse
// one; of one layer, and of all heads, `reverse` says.
#include <vector>

#include "lstm.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

using Floats = ffi::Buffer<ffi::F32>;
using Bools = ffi::Buffer<ffi::PRED>;
using Words = ffi::Buffer<ffi::U32>;
using FloatsOut = ffi::Result<Floats>;

// The constants of a call, as `struct longshort_lstm` has them.
struct Settings {
  bool reverse, bfloat16, zero_masked, coupled;
  int64_t cell;
  bool exp_forget;
  int64_t activation, recurrent_activation;
  double cell_clip, zoneout_h, zoneout_c, update_dropout;
};

}  // namespace

XLA_FFI_REGISTER_STRUCT_ATTR_DECODING(
    Settings, ::xla::ffi::StructMember<bool>("reverse"),
    ::xla::ffi::StructMember<bool>("bfloat16"), ::xla::ffi::StructMember<bool>("zero_masked"),
    ::xla::ffi::StructMember<bool>("coupled"), ::xla::ffi::StructMember<int64_t>("cell"),
    ::xla::ffi::StructMember<bool>("exp_forget"),
    ::xla::ffi::StructMember<int64_t>("activation"),
    ::xla::ffi::StructMember<int64_t>("recurrent_activation"),
    ::xla::ffi::StructMember<double>("cell_clip"), ::xla::ffi::StructMember<double>("zoneout_h"),
    ::xla::ffi::StructMember<double>("zoneout_c"),
    ::xla::ffi::StructMember<double>("update_dropout"));

namespace {

// Fills a call. Every array's number of elements is compared with the call's dimensions before a
// kernel may follow its pointer; the Python side gives the sentence that says which one is wrong.
class Call {
 public:
  // `recurrent` is (N, P, 4H), or of that shape, and so is `second`.
  Call(const Floats& x, const Floats& recurrent, const Floats& second, const Settings& settings)
      : Call(axis(x, from(x)), axis(x, from(x) + 1), axis(x, from(x) + 2), recurrent, second, settings) {
    fits_ = fits_ && x.dimensions().size() == 3 + from(x);
  }
  Call(int64_t batch, int64_t time, int64_t features, const Floats& recurrent, const Floats& second,
       const Settings& settings)
      : count_(axis(recurrent, 0) + axis(second, 0)),
        fits_(recurrent.dimensions().size() == 3 && axis(recurrent, 2) % 4 == 0) {
    if (axis(second, 0)) fits_ = fits_ && count_ == 2 && axis(second, 0) == 1;
    const bool heads = settings.cell == LONGSHORT_SLSTM;
    if (count_ < 1 || count_ > (heads ? 1 << 16 : 2)) {
      fits_ = false;
      count_ = 1;
    }
    layers_.resize(static_cast<size_t>(count_));
    for (int64_t i = 0; i < count_; ++i) {
      longshort_lstm& a = layers_[i];
      a.batch = batch;
      a.time = time;
      a.features = features;
      a.units = axis(recurrent, 2) / 4;
      a.outputs = axis(recurrent, 1);
      a.hs_stride = count_ * a.outputs;
      a.reverse = count_ == 2 && !heads ? i == 1 : settings.reverse;
      a.cell = static_cast<int32_t>(settings.cell);
      a.exp_forget = settings.exp_forget;
      a.bfloat16 = settings.bfloat16;
      a.zero_masked = settings.zero_masked;
      a.coupled = settings.coupled;
      a.activation = static_cast<int32_t>(settings.activation);
      a.recurrent_activation = static_cast<int32_t>(settings.recurrent_activation);
      a.cell_clip = static_cast<float>(settings.cell_clip);
      a.zoneout_h = settings.zoneout_h;
      a.zoneout_c = settings.zoneout_c;
      a.update_dropout = settings.update_dropout;
    }
    const int64_t padded = (axis(recurrent, 2) / 4 + 15) / 16 * 16;
    B = batch;
    T = time;
    D = features;
    H = axis(recurrent, 2) / 4;
    P = axis(recurrent, 1);
    gates = 4 * B * T * padded;
    state = (heads ? 3 : 1) * B * H;
    cells = (heads ? 3 : 1) * B * T * padded;
  }

  // One field of every layer: `size` elements each, one behind the other.
  template <class Field, class Buffer>
  void give(Field longshort_lstm::*field, Buffer& buffer, int64_t size) {
    give(field, buffer, size, size);
  }
  // The same, of two directions an array each.
  template <class Field, class Buffer>
  void give(Field longshort_lstm::*field, Buffer& first, Buffer& second, int64_t size) {
    if (array(second).element_count() == 0) return give(field, first, size);
    fits_ = fits_ && count_ == 2 && array(first).element_count() == static_cast<size_t>(size) &&
            array(second).element_count() == static_cast<size_t>(size);
    layers_[0].*field = (Field)array(first).typed_data();
    if (count_ == 2) layers_[1].*field = (Field)array(second).typed_data();
  }
  void give_x(const Floats& x) {
    if (from(x)) {
      give(&longshort_lstm::x, x, B * T * D);
    } else {
      share(&longshort_lstm::x, x, B * T * D);
    }
  }
  // One array that all layers read.
  template <class Field, class Buffer>
  void share(Field longshort_lstm::*field, Buffer& buffer, int64_t size) {
    check(buffer, size);
    give(field, buffer, size, 0, false);
  }
  // hs or dhs: (B, T, N, P).
  template <class Field, class Buffer>
  void join(Field longshort_lstm::*field, Buffer& buffer) {
    give(field, buffer, B * T * P, P);
  }

  ffi::Error run(const char* (*kernel)(const longshort_lstm*, int)) const {
    const char* error = fits_ ? kernel(layers_.data(), static_cast<int>(count_))
                              : "an array has the wrong number of elements";
    return error ? ffi::Error::InvalidArgument(std::string("longshort: ") + error)
                 : ffi::Error::Success();
  }

  int64_t B, T, D, H, P, gates, state, cells;

 private:
  static const Floats& array(const Floats& b) { return b; }
  static const Bools& array(const Bools& b) { return b; }
  static const Words& array(const Words& b) { return b; }
  static const Floats& array(FloatsOut& b) { return *b; }
  // The axis of x after N.
  static size_t from(const Floats& x) { return x.dimensions().size() == 4 ? 1 : 0; }
  template <class Buffer>
  static int64_t axis(const Buffer& b, size_t i) {
    return i < b.dimensions().size() ? b.dimensions()[i] : 0;
  }
  template <class Buffer>
  void check(Buffer& buffer, int64_t size) {
    const int64_t found = array(buffer).element_count();
    fits_ = fits_ && (found == 0 || found == size);
  }
  template <class Field, class Buffer>
  void give(Field longshort_lstm::*field, Buffer& buffer, int64_t size, int64_t step,
            bool checked = true) {
    if (checked) check(buffer, count_ * size);
    if (array(buffer).element_count() == 0) return;
    // The struct names as outputs what some of the functions only read.
    auto* data = (Field)array(buffer).typed_data();
    for (int64_t i = 0; i < count_; ++i) layers_[i].*field = data + i * step;
  }

  std::vector<longshort_lstm> layers_;
  int64_t count_;
  bool fits_;
};

ffi::Error forward(Floats x, Floats kernel, Floats recurrent, Floats bias, Bools mask, Floats h0,
                   Floats c0, Floats x_dropout, Floats h_dropout, Floats peephole,
                   Floats projection, Floats norm_gain, Floats norm_cell, Words noise,
                   Floats second_kernel, Floats second_recurrent,
                   FloatsOut hs, FloatsOut h_last, FloatsOut c_last, FloatsOut gates,
                   FloatsOut cells, FloatsOut products, FloatsOut statistics, FloatsOut outs,
                   FloatsOut i, FloatsOut f, FloatsOut g, FloatsOut o, FloatsOut c,
                   Settings settings) {
  Call call(x, recurrent, second_recurrent, settings);
  call.give_x(x);
  call.give(&longshort_lstm::kernel, kernel, second_kernel, call.D * 4 * call.H);
  call.give(&longshort_lstm::recurrent, recurrent, second_recurrent, call.P * 4 * call.H);
  call.give(&longshort_lstm::bias, bias, 4 * call.H);
  call.share(&longshort_lstm::mask, mask, call.B * call.T);
  call.give(&longshort_lstm::h0, h0, call.B * call.P);
  call.give(&longshort_lstm::c0, c0, call.state);
  call.give(&longshort_lstm::x_dropout, x_dropout, 4 * call.B * call.D);
  call.give(&longshort_lstm::h_dropout, h_dropout, 4 * call.B * call.P);
  call.give(&longshort_lstm::peephole, peephole, 3 * call.H);
  call.give(&longshort_lstm::projection, projection, call.H * call.P);
  call.give(&longshort_lstm::norm_gain, norm_gain, 8 * call.H);
  call.give(&longshort_lstm::norm_cell, norm_cell, 2 * call.H);
  call.give(&longshort_lstm::noise, noise, 3);
  call.join(&longshort_lstm::hs, hs);
  call.give(&longshort_lstm::h_last, h_last, call.B * call.P);
  call.give(&longshort_lstm::c_last, c_last, call.state);
  call.give(&longshort_lstm::gates, gates, call.gates);
  call.give(&longshort_lstm::cells, cells, call.cells);
  call.give(&longshort_lstm::products, products, 2 * call.gates);
  call.give(&longshort_lstm::statistics, statistics, 6 * call.B * call.T);
  call.give(&longshort_lstm::outs, outs, call.B * call.T * call.H);
  call.give(&longshort_lstm::trace_i, i, call.B * call.T * call.H);
  call.give(&longshort_lstm::trace_f, f, call.B * call.T * call.H);
  call.give(&longshort_lstm::trace_g, g, call.B * call.T * call.H);
  call.give(&longshort_lstm::trace_o, o, call.B * call.T * call.H);
  call.give(&longshort_lstm::trace_c, c, call.B * call.T * call.H);
  return call.run(longshort_lstm_forward);
}

ffi::Error backward(Floats x, Floats recurrent, Floats second_recurrent, Bools mask, Floats c0, Floats h_dropout,
                    Floats peephole, Floats projection, Floats norm_gain, Floats norm_cell,
                    Words noise, Floats gates, Floats cells, Floats products, Floats statistics,
                    Floats dhs, Floats dh_last, Floats dc_last, FloatsOut dz, FloatsOut dprojected,
                    FloatsOut dh0, FloatsOut dc0, FloatsOut dpeephole, FloatsOut dz_x,
                    FloatsOut dnorm_gain, FloatsOut dnorm_cell, FloatsOut dbias, Settings settings) {
  Call call(x, recurrent, second_recurrent, settings);
  call.give(&longshort_lstm::recurrent, recurrent, second_recurrent, call.P * 4 * call.H);
  call.share(&longshort_lstm::mask, mask, call.B * call.T);
  call.give(&longshort_lstm::c0, c0, call.state);
  call.give(&longshort_lstm::h_dropout, h_dropout, 4 * call.B * call.P);
  call.give(&longshort_lstm::peephole, peephole, 3 * call.H);
  call.give(&longshort_lstm::projection, projection, call.H * call.P);
  call.give(&longshort_lstm::norm_gain, norm_gain, 8 * call.H);
  call.give(&longshort_lstm::norm_cell, norm_cell, 2 * call.H);
  call.give(&longshort_lstm::noise, noise, 3);
  call.give(&longshort_lstm::gates, gates, call.gates);
  call.give(&longshort_lstm::cells, cells, call.cells);
  call.give(&longshort_lstm::products, products, 2 * call.gates);
  call.give(&longshort_lstm::statistics, statistics, 6 * call.B * call.T);
  call.join(&longshort_lstm::dhs, dhs);
  call.give(&longshort_lstm::dh_last, dh_last, call.B * call.P);
  call.give(&longshort_lstm::dc_last, dc_last, call.state);
  call.give(&longshort_lstm::dz, dz, call.gates);
  call.give(&longshort_lstm::dprojected, dprojected, call.B * call.T * call.P);
  call.give(&longshort_lstm::dh0, dh0, call.B * call.P);
  call.give(&longshort_lstm::dc0, dc0, call.state);
  call.give(&longshort_lstm::dpeephole, dpeephole, 3 * call.H);
  call.give(&longshort_lstm::dz_x, dz_x, call.gates);
  call.give(&longshort_lstm::dnorm_gain, dnorm_gain, 8 * call.H);
  call.give(&longshort_lstm::dnorm_cell, dnorm_cell, 2 * call.H);
  call.give(&longshort_lstm::dbias, dbias, 4 * call.H);
  return call.run(longshort_lstm_backward);
}

ffi::Error weight_gradient(Floats x, Bools mask, Floats h0, Floats x_dropout, Floats h_dropout,
                           Floats hs, Floats dz, Floats dz_x, FloatsOut dkernel,
                           FloatsOut drecurrent, FloatsOut dbias, FloatsOut second_dkernel,
                           FloatsOut second_drecurrent, Settings settings) {
  Call call(x, *drecurrent, *second_drecurrent, settings);
  call.give_x(x);
  call.share(&longshort_lstm::mask, mask, call.B * call.T);
  call.give(&longshort_lstm::h0, h0, call.B * call.P);
  call.give(&longshort_lstm::x_dropout, x_dropout, 4 * call.B * call.D);
  call.give(&longshort_lstm::h_dropout, h_dropout, 4 * call.B * call.P);
  call.join(&longshort_lstm::hs, hs);
  call.give(&longshort_lstm::dz, dz, call.gates);
  call.give(&longshort_lstm::dz_x, dz_x, call.gates);
  call.give(&longshort_lstm::dkernel, dkernel, second_dkernel, call.D * 4 * call.H);
  call.give(&longshort_lstm::drecurrent, drecurrent, second_drecurrent, call.P * 4 * call.H);
  call.give(&longshort_lstm::dbias, dbias, 4 * call.H);
  return call.run(longshort_lstm_weight_gradient);
}

ffi::Error input_gradient(Floats kernel, Floats recurrent, Floats second_kernel, Floats second_recurrent,
                          Bools mask, Floats x_dropout, Floats dz, FloatsOut dx, Settings settings) {
  const auto dims = dx->dimensions();  // (N, B, T, D)
  if (dims.size() != 4) return ffi::Error::InvalidArgument("longshort: dx must have four axes");
  Call call(dims[1], dims[2], dims[3], recurrent, second_recurrent, settings);
  call.give(&longshort_lstm::kernel, kernel, second_kernel, call.D * 4 * call.H);
  call.share(&longshort_lstm::mask, mask, call.B * call.T);
  call.give(&longshort_lstm::x_dropout, x_dropout, 4 * call.B * call.D);
  call.give(&longshort_lstm::dz, dz, call.gates);
  call.give(&longshort_lstm::dx, dx, call.B * call.T * call.D);
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
                                  .Arg<Floats>()   // x
                                  .Arg<Floats>()   // kernel
                                  .Arg<Floats>()   // recurrent kernel
                                  .Arg<Floats>()   // bias
                                  .Arg<Bools>()    // mask
                                  .Arg<Floats>()   // h0
                                  .Arg<Floats>()   // c0
                                  .Arg<Floats>()   // x_dropout
                                  .Arg<Floats>()   // h_dropout
                                  .Arg<Floats>()   // peephole
                                  .Arg<Floats>()   // projection
                                  .Arg<Floats>()   // norm_gain
                                  .Arg<Floats>()   // norm_cell
                                  .Arg<Words>()    // noise
                                  .Arg<Floats>()   // kernel of the second direction
                                  .Arg<Floats>()   // recurrent kernel of the second direction
                                  .Ret<Floats>()   // hs
                                  .Ret<Floats>()   // h_last
                                  .Ret<Floats>()   // c_last
                                  .Ret<Floats>()   // gates
                                  .Ret<Floats>()   // cells
                                  .Ret<Floats>()   // products
                                  .Ret<Floats>()   // statistics
                                  .Ret<Floats>()   // outs
                                  .Ret<Floats>()   // i
                                  .Ret<Floats>()   // f
                                  .Ret<Floats>()   // g
                                  .Ret<Floats>()   // o
                                  .Ret<Floats>()   // c
                                  .Attrs<Settings>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_backward, backward,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()   // x, for its shape
                                  .Arg<Floats>()   // recurrent kernel
                                  .Arg<Floats>()   // recurrent kernel of the second direction
                                  .Arg<Bools>()    // mask
                                  .Arg<Floats>()   // c0
                                  .Arg<Floats>()   // h_dropout
                                  .Arg<Floats>()   // peephole
                                  .Arg<Floats>()   // projection
                                  .Arg<Floats>()   // norm_gain
                                  .Arg<Floats>()   // norm_cell
                                  .Arg<Words>()    // noise
                                  .Arg<Floats>()   // gates
                                  .Arg<Floats>()   // cells
                                  .Arg<Floats>()   // products
                                  .Arg<Floats>()   // statistics
                                  .Arg<Floats>()   // dhs
                                  .Arg<Floats>()   // dh_last
                                  .Arg<Floats>()   // dc_last
                                  .Ret<Floats>()   // dz
                                  .Ret<Floats>()   // dprojected
                                  .Ret<Floats>()   // dh0
                                  .Ret<Floats>()   // dc0
                                  .Ret<Floats>()   // dpeephole
                                  .Ret<Floats>()   // dz_x
                                  .Ret<Floats>()   // dnorm_gain
                                  .Ret<Floats>()   // dnorm_cell
                                  .Ret<Floats>()   // dbias
                                  .Attrs<Settings>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_weight_gradient, weight_gradient,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()   // x
                                  .Arg<Bools>()    // mask
                                  .Arg<Floats>()   // h0
                                  .Arg<Floats>()   // x_dropout
                                  .Arg<Floats>()   // h_dropout
                                  .Arg<Floats>()   // hs
                                  .Arg<Floats>()   // dz
                                  .Arg<Floats>()   // dz_x
                                  .Ret<Floats>()   // dkernel
                                  .Ret<Floats>()   // drecurrent
                                  .Ret<Floats>()   // dbias
                                  .Ret<Floats>()   // dkernel of the second direction
                                  .Ret<Floats>()   // drecurrent of the second direction
                                  .Attrs<Settings>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_input_gradient, input_gradient,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()   // kernel
                                  .Arg<Floats>()   // recurrent kernel, for its shape
                                  .Arg<Floats>()   // kernel of the second direction
                                  .Arg<Floats>()   // recurrent kernel of the second direction
                                  .Arg<Bools>()    // mask
                                  .Arg<Floats>()   // x_dropout
                                  .Arg<Floats>()   // dz
                                  .Ret<Floats>()   // dx
                                  .Attrs<Settings>());
