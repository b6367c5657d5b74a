// The loss of a softmax over many tokens: the C interface, and JAX's door to it.
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "barrier.h"
#include "isa.h"
#include "pool.h"
#include "scratch.h"
#include "xla/ffi/api/ffi.h"

namespace longshort {
namespace {

// Logits in memory at once, 16 MB or, where their gradient is in three pieces, 24, and rows: four tiles' columns of
// gradients then fit a core's own cache, nearly.
constexpr int64_t kMostLogits = int64_t{1} << 22;
constexpr int64_t kMostRows = 512;

const char* check(const longshort_token_loss& a) {
  if (a.rows < 0 || a.size < 1 || a.tokens < 1) return "a softmax needs values and tokens";
  constexpr int64_t limit = (int64_t{1} << 31) - 1;
  if (a.rows >= limit || a.size >= limit || a.tokens >= limit) return "a dimension is 2^31 - 1 or more";
  if (!(a.share >= 0 && a.share <= 1)) return "share must be from 0 to 1";
  if (!a.weights || !a.bias || !a.loss || !a.dweights || !a.dbias) return "an array is null";
  if (a.rows && (!a.y || !a.targets || !a.dy)) return "an array is null";
  for (int64_t r = 0; r < a.rows; ++r)
    if (a.targets[r] < 0 || a.targets[r] >= a.tokens) return "a target is no token";
  return nullptr;
}

void run(const longshort_token_loss& a) {
  std::vector<int64_t> real;
  for (int64_t r = 0; r < a.rows; ++r) {
    if (a.targets[r]) {
      real.push_back(r);
    } else {
      std::memset(a.dy + r * a.size, 0, static_cast<size_t>(a.size) * sizeof(float));
    }
  }
  const auto count = static_cast<int64_t>(real.size());
  if (count == 0) {
    *a.loss = 0;
    std::memset(a.dweights, 0, static_cast<size_t>(a.size * a.tokens) * sizeof(float));
    std::memset(a.dbias, 0, static_cast<size_t>(a.tokens) * sizeof(float));
    return;
  }
  // Portions are of nearly equal size, whatever the number of threads: sums over them are kept.
  int64_t portion = smaller(kMostRows, kMostLogits / a.tokens);
  portion = ceil_div(count, ceil_div(count, portion < 32 ? 32 : portion));
  double bias_sum = 0;
  for (int64_t v = 0; v < a.tokens; ++v) bias_sum += a.bias[v];
  const LossRows of{real.data(), count, portion, static_cast<float>(bias_sum)};
  const double flops = 6.0 * static_cast<double>(count) * static_cast<double>(a.size * a.tokens);
  const int threads = plan_product(flops, free_threads());
  const Kernels& k = kernels();
  const Scratch scratch(k.token_loss_scratch(a, of, threads));
  run_team(threads, [&](const Team& team) { k.token_loss(a, of, scratch.data(), team); });
}

}  // namespace
}  // namespace longshort

extern "C" const char* longshort_token_loss_run(const longshort_token_loss* a) {
  if (const char* error = longshort::check(*a)) return error;
  try {
    longshort::run(*a);
    return nullptr;
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (...) {
    return "unexpected failure in the kernel library";
  }
}

namespace ffi = xla::ffi;

namespace {

using Floats = ffi::Buffer<ffi::F32>;
using FloatsOut = ffi::Result<Floats>;

ffi::Error token_loss(Floats y, Floats weights, Floats bias, ffi::Buffer<ffi::S32> targets, FloatsOut loss,
                      FloatsOut dy, FloatsOut dweights, FloatsOut dbias, bool by_values, bool bfloat16,
                      double share) {
  longshort_token_loss a = {};
  a.rows = static_cast<int64_t>(targets.element_count());
  a.tokens = static_cast<int64_t>(bias.element_count());
  if (y.dimensions().size() != 2)
    return ffi::Error::InvalidArgument("longshort: y must have two axes");
  a.size = y.dimensions()[1];
  const auto has = [](const Floats& array, int64_t size) {
    return static_cast<int64_t>(array.element_count()) == size;
  };
  const int64_t values = a.rows * a.size, all = a.tokens * a.size;
  if (!has(y, values) || !has(weights, all) || !has(*loss, 1) || !has(*dy, values) ||
      !has(*dweights, all) || !has(*dbias, a.tokens))
    return ffi::Error::InvalidArgument("longshort: an array has the wrong number of elements");
  a.by_values = by_values;
  a.bfloat16 = bfloat16;
  a.share = static_cast<float>(share);
  a.y = y.typed_data();
  a.weights = weights.typed_data();
  a.bias = bias.typed_data();
  a.targets = targets.typed_data();
  a.loss = loss->typed_data();
  a.dy = dy->typed_data();
  a.dweights = dweights->typed_data();
  a.dbias = dbias->typed_data();
  const char* error = longshort_token_loss_run(&a);
  return error ? ffi::Error::InvalidArgument(std::string("longshort: ") + error) : ffi::Error::Success();
}

}  // namespace

extern "C" LONGSHORT_API XLA_FFI_Error* longshort_xla_token_loss(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(longshort_xla_token_loss, token_loss,
                              ffi::Ffi::Bind()
                                  .Arg<Floats>()                // y
                                  .Arg<Floats>()                // weights
                                  .Arg<Floats>()                // bias
                                  .Arg<ffi::Buffer<ffi::S32>>() // targets
                                  .Ret<Floats>()                // loss
                                  .Ret<Floats>()                // dy
                                  .Ret<Floats>()                // dweights
                                  .Ret<Floats>()                // dbias
                                  .Attr<bool>("by_values")
                                  .Attr<bool>("bfloat16")
                                  .Attr<double>("share"));
