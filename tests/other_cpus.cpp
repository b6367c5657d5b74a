// other_cpus LIBRARY ISA: loads the kernel library, checks which instruction set it chose, and holds
// each function to a plain loop in double precision. tests/other_cpus.sh runs it on emulated CPUs.
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../kernels/lstm.h"

namespace {

// Two unit blocks, rows that leave a rest in every tile.
constexpr int B = 7, T = 3, D = 3, H = 19, G = 4 * H, P = (H + 15) / 16;  // blocks of 16 units
using Floats = std::vector<float>;
using Doubles = std::vector<double>;
enum { kX, kKernel, kRecurrent, kBias, kInputs };
constexpr int kSizes[kInputs] = {B * T * D, D * G, H * G, G};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// h of all steps (B, T, H).
Doubles plain_lstm(const Doubles* in) {
  Doubles hs(B * T * H);
  for (int b = 0; b < B; ++b) {
    Doubles h(H), c(H), z(G);
    for (int t = 0; t < T; ++t) {
      z = in[kBias];
      for (int g = 0; g < G; ++g) {
        for (int d = 0; d < D; ++d) z[g] += in[kX][(b * T + t) * D + d] * in[kKernel][d * G + g];
        for (int u = 0; u < H; ++u) z[g] += h[u] * in[kRecurrent][u * G + g];
      }
      for (int u = 0; u < H; ++u) {
        c[u] = sigmoid(z[H + u]) * c[u] + sigmoid(z[u]) * std::tanh(z[2 * H + u]);
        h[u] = sigmoid(z[3 * H + u]) * std::tanh(c[u]);
        hs[(b * T + t) * H + u] = h[u];
      }
    }
  }
  return hs;
}

double loss(const Doubles* in, const Floats& dhs) {
  const Doubles hs = plain_lstm(in);
  double sum = 0;
  for (size_t i = 0; i < hs.size(); ++i) sum += hs[i] * dhs[i];
  return sum;
}

// Numbers in -1..1, the same on every machine.
float next_number() {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return static_cast<float>(static_cast<double>(state) / 2147483648.0 - 1.0);
}

int failures = 0;

void check(const char* what, double actual, double expected, double bound) {
  if (std::fabs(actual - expected) <= bound) return;  // NaN fails
  if (++failures <= 10) std::printf("%s: %.9g, expected %.9g\n", what, actual, expected);
}

template <class Function>
Function find(void* library, const char* name) {
  void* found = dlsym(library, name);
  if (!found) std::printf("%s\n", dlerror()), std::exit(1);
  Function function;
  std::memcpy(&function, &found, sizeof function);
  return function;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  void* library = dlopen(argv[1], RTLD_NOW);
  if (!library) return std::printf("%s\n", dlerror()), 1;
  const char* isa = find<decltype(&longshort_isa)>(library, "longshort_isa")();
  if (std::strcmp(isa, argv[2]) != 0)
    return std::printf("chose %s, expected %s\n", isa, argv[2]), 1;

  Floats in[kInputs];
  Doubles exact[kInputs];
  for (int i = 0; i < kInputs; ++i) {
    for (int j = 0; j < kSizes[i]; ++j) in[i].push_back(next_number());
    exact[i].assign(in[i].begin(), in[i].end());
  }
  Floats dhs(B * T * H);
  for (float& x : dhs) x = next_number();

  Floats hs(B * T * H), h_last(B * H), c_last(B * H), gates(P * T * B * 64), cells(P * T * B * 16);
  Floats dz(gates.size()), gradients[kInputs];
  for (int i = 0; i < kInputs; ++i) gradients[i].resize(kSizes[i]);
  longshort_lstm call = {};
  call.batch = B;
  call.time = T;
  call.features = D;
  call.units = call.outputs = call.hs_stride = H;
  call.x = in[kX].data();
  call.kernel = in[kKernel].data();
  call.recurrent = in[kRecurrent].data();
  call.bias = in[kBias].data();
  call.hs = hs.data();
  call.h_last = h_last.data();
  call.c_last = c_last.data();
  call.gates = gates.data();
  call.cells = cells.data();
  call.dhs = dhs.data();
  call.dz = dz.data();
  call.dx = gradients[kX].data();
  call.dkernel = gradients[kKernel].data();
  call.drecurrent = gradients[kRecurrent].data();
  call.dbias = gradients[kBias].data();
  for (const char* name : {"longshort_lstm_forward", "longshort_lstm_backward",
                           "longshort_lstm_weight_gradient", "longshort_lstm_input_gradient"}) {
    if (const char* error = find<decltype(&longshort_lstm_forward)>(library, name)(&call, 1))
      return std::printf("%s: %s\n", name, error), 1;
  }

  const Doubles expected = plain_lstm(exact);
  for (size_t i = 0; i < hs.size(); ++i) check("hs", hs[i], expected[i], 1e-5);
  const char* const names[kInputs] = {"dx", "dkernel", "drecurrent", "dbias"};
  for (int i = 0; i < kInputs; ++i) {
    for (int j = 0; j < kSizes[i]; ++j) {  // central differences
      const double x = exact[i][j], step = 1e-5;
      exact[i][j] = x + step;
      const double above = loss(exact, dhs);
      exact[i][j] = x - step;
      const double below = loss(exact, dhs);
      exact[i][j] = x;
      check(names[i], gradients[i][j], (above - below) / (2 * step), 1e-4);
    }
  }
  std::printf("%s: %s\n", isa, failures ? "wrong results" : "results agree");
  return failures != 0;
}
