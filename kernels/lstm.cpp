// The C interface: checks, choice of instruction set, plan, scratch, team.
#include "lstm.h"

#include <atomic>
#include <cstring>
#include <deque>
#include <new>
#include <vector>

#include "barrier.h"
#include "isa.h"
#include "pool.h"
#include "scratch.h"
#include "steps.h"

namespace longshort {

// Three quarters of a second-level cache of 1 MB: the rest is for rows of x, h and gates.
constexpr int64_t kOwnCache = 768 * 1024;
// A thread must have this much to do before it is worth waking: between two barriers, where one
// costs about a microsecond, and in a whole call, some 20 to 50 microseconds of work.
constexpr double kFlopsPerStep = 2e5;
constexpr double kFlopsPerCall = 4e6;

int plan_product(double flops, int num_threads) {
  const int worth = static_cast<int>(smaller(static_cast<int64_t>(flops / kFlopsPerCall), 256));
  return worth < 1 ? 1 : worth < num_threads ? worth : num_threads;
}

Plan plan_steps(const longshort_lstm& a, int num_threads) {
  const int64_t depth = a.features + a.outputs;
  // With few rows the weights' way from the cache is what takes the time.
  const double flops = 2.0 * (a.batch > 4 ? a.batch : 4) * depth * kGates * a.units;
  const int64_t weights = depth * kGates * a.units * static_cast<int64_t>(sizeof(float));
  const int threads = plan_product(flops * a.time, num_threads);
  if (weights <= kOwnCache && a.batch >= 4 * threads) 
    return Plan{threads, true, a.mask != nullptr, false, a.norm_gain != nullptr};
  const int worth = static_cast<int>(smaller(static_cast<int64_t>(flops / kFlopsPerStep), 256));
  const int by_units = static_cast<int>(
      smaller(smaller(threads, ceil_div(a.units, 16)), worth < 1 ? 1 : worth));
  return Plan{by_units, false, a.mask != nullptr,
              a.time > 1 && a.features > 2 * a.batch && !a.x_dropout && !a.h_dropout,
              a.norm_gain != nullptr};
}

namespace {

// The sets that are compiled for this kind of CPU, best first; the last runs on all of the kind.
const Kernels* const kAll[] = {  // the best first
#if LONGSHORT_HAS_amx
    &kAmx,
#endif
#if LONGSHORT_HAS_avx512_bf16
    &kAvx512Bf16,
#endif
#if LONGSHORT_HAS_avx512
    &kAvx512,
#endif
#if LONGSHORT_HAS_avx2
    &kAvx2,
#endif
#if LONGSHORT_HAS_neon
    &kNeon,
#endif
#if LONGSHORT_HAS_portable
    &kPortable,
#endif
};

const Kernels* best() {
  const Kernels* const* k = kAll;
  while (!(*k)->supported()) ++k;
  return *k;
}

std::atomic<const Kernels*> chosen{nullptr};

}  // namespace

const Kernels& kernels() {
  const Kernels* k = chosen.load(std::memory_order_acquire);
  if (!k) {
    k = best();
    chosen.store(k, std::memory_order_release);
  }
  return *k;
}

namespace {

const char* check_shape(const longshort_lstm& a) {
  if (a.batch < 0 || a.time < 0) return "batch and time must not be negative";
  if (a.features < 1 || a.units < 1 || a.outputs < 1)
    return "features, units and outputs must be at least 1";
  constexpr int64_t limit = (int64_t{1} << 31) - 1;
  if (a.batch >= limit || a.time >= limit || a.features >= limit || a.units >= limit ||
      a.outputs >= limit)
    return "a dimension is 2^31 - 1 or more";
  if (a.activation < LONGSHORT_TANH || a.activation > LONGSHORT_LINEAR ||
      a.recurrent_activation < LONGSHORT_SIGMOID || a.recurrent_activation > LONGSHORT_HARD_SIGMOID)
    return "an unknown activation";
  if (a.cell < LONGSHORT_LSTM || a.cell > LONGSHORT_SLSTM) return "an unknown cell";
  if (a.exp_forget && a.cell != LONGSHORT_SLSTM) return "exp_forget is the sLSTM's";
  if (a.cell == LONGSHORT_SLSTM && (a.activation || a.recurrent_activation))
    return "the sLSTM has no other activations";
  if (a.cell != LONGSHORT_LSTM &&
      (a.coupled || a.cell_clip != 0 || a.zoneout_h != 0 || a.zoneout_c != 0 ||
       a.update_dropout != 0 || a.peephole || a.projection || a.norm_gain || a.norm_cell ||
       a.noise || a.dprojected || a.dpeephole || a.dz_x || a.dnorm_gain || a.dnorm_cell))
    return "the variants are the LSTM's; another cell has none of them";
  if (!(a.cell_clip >= 0)) return "cell_clip must be above 0, or 0 for none";
  const auto rate = [](double r) { return r >= 0 && r <= 1; };
  if (!rate(a.zoneout_h) || !rate(a.zoneout_c) || !rate(a.update_dropout) || a.update_dropout == 1)
    return "a rate is out of its range";
  if ((a.hs || a.dhs) && a.hs_stride < a.outputs) return "hs_stride must be at least outputs";
  return nullptr;
}

constexpr const char* kOutputs = "without a projection there must be as many outputs as units";
constexpr const char* kMissing = "an array that may not be null is null";

void copy_or_zero(float* out, const float* in, int64_t n) {
  if (!out || n == 0) return;
  if (in) {
    std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
  } else {
    std::memset(out, 0, static_cast<size_t>(n) * sizeof(float));
  }
}

// No exception may cross the C border; the only one that can arise is want of memory.
template <class Body>
const char* guarded(Body body) {
  try {
    body();
    return nullptr;
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (...) {
    return "unexpected failure in the kernel library";
  }
}

double product_flops(const longshort_lstm& a, int64_t depth) {
  return 2.0 * static_cast<double>(a.batch * a.time) * static_cast<double>(depth * kGates * a.units);
}

// Runs body(layer, plan, steps, scratch, team) for each layer. The layers are dealt to as many groups as
// there are threads, at most; the groups run side by side, each with its part of the threads, and
// the layers of a group one after the other. Where they are not worth two threads, all are one group.
template <class MakePlan, class Size, class Body>
const char* run_layers(const longshort_lstm* layers, int count, MakePlan make_plan, Size size,
                       Body body) {
  return guarded([&] {
    const int threads = free_threads();
    double flops = 0;
    for (int i = 0; i < count; ++i) flops += product_flops(layers[i], layers[i].units);
    const int worth = plan_product(flops, threads);
    const int groups = static_cast<int>(smaller(count, worth));
    std::vector<Plan> plans(count);
    std::vector<Steps> steps(count);
    std::vector<int64_t> begins(count + 1);
    // The threads of a group: as many as its layers can use, and where they begin in the team.
    std::vector<int> sizes(groups), firsts(groups + 1);
    for (int g = 0; g < groups; ++g) {
      // Several layers that make one group run one after the other on this thread.
      const int budget = groups > 1 ? static_cast<int>(part(threads, g, groups).size())
                         : count > 1 ? 1 : threads;
      for (int64_t i = part(count, g, groups).begin; i < part(count, g, groups).end; ++i) {
        plans[i] = make_plan(layers[i], budget);
        if (plans[i].threads > sizes[g]) sizes[g] = plans[i].threads;
      }
      firsts[g + 1] = firsts[g] + sizes[g];
    }
    for (int i = 0; i < count; ++i)
      begins[i + 1] = begins[i] + steps_size(layers[i]) + size(layers[i], plans[i]);
    const Scratch scratch(begins[count]);
    for (int i = 0; i < count; ++i) steps[i] = make_steps(layers[i], scratch.data() + begins[i]);
    std::deque<Barrier> barriers;  // one a layer: their teams may differ in size
    for (int i = 0; i < count; ++i) barriers.emplace_back(plans[i].threads);
    // The team may turn out smaller than planned (its workers are busy): then it is one thread.
    run_team(firsts[groups], [&](const Team& team) {
      for (int g = 0; g < groups; ++g) {
        const Range own_layers = part(count, g, groups);
        for (int64_t i = own_layers.begin; i < own_layers.end; ++i) {
          Team own = team;
          if (team.size > 1 && count > 1) {
            own = Team{team.index - firsts[g], plans[i].threads, &barriers[i]};
            if (own.index < 0 || own.index >= own.size) continue;
          }
          Plan plan = plans[i];
          plan.threads = own.size;
          body(layers[i], plan, steps[i], scratch.data() + begins[i] + steps_size(layers[i]), own);
        }
      }
    });
  });
}

// Calls check(layer) for each layer; null where all are in order.
template <class Check>
const char* check_layers(const longshort_lstm* layers, int count, Check check) {
  if (!layers || count < 1) return "a call takes at least one layer";
  for (int i = 0; i < count; ++i) {
    const longshort_lstm& a = layers[i];
    if (const char* error = check_shape(a)) return error;
    if (a.batch != layers[0].batch || a.time != layers[0].time)
      return "the layers of a call must have the same batch and time";
    if (a.batch * a.time == 0) continue;
    if (const char* error = check(a)) return error;
  }
  return nullptr;
}

bool empty(const longshort_lstm* layers) { return layers->batch * layers->time == 0; }

}  // namespace
}  // namespace longshort

using namespace longshort;

extern "C" {

const char* longshort_lstm_forward(const longshort_lstm* layers, int count) {
  const char* error = check_layers(layers, count, [](const longshort_lstm& a) -> const char* {
    if (!a.gates != !a.cells) return "gates and cells must be given together";
    if (a.gates && !a.hs) return "hs must be given where gates and cells are";
    for (const float* traced : {a.trace_f, a.trace_g, a.trace_o, a.trace_c})
      if (!a.trace_i != !traced) return "a trace must be given whole";
    if (a.trace_i && a.cell) return "only an LSTM has a trace";
    if (a.trace_i && a.gates) return "a trace cannot be given where gates and cells are";
    if (!a.x || !a.kernel || !a.recurrent || !a.h_last || !a.c_last) return kMissing;
    if (!a.norm_gain != !a.norm_cell) return kMissing;
    if (a.gates && a.projection && !a.outs) return kMissing;
    if (a.gates && a.norm_gain && (!a.products || !a.statistics)) return kMissing;
    if (!a.projection && a.outputs != a.units) return kOutputs;
    return nullptr;
  });
  if (error) return error;
  if (empty(layers)) {
    for (int i = 0; i < count; ++i) {
      copy_or_zero(layers[i].h_last, layers[i].h0, layers[i].batch * layers[i].outputs);
      copy_or_zero(layers[i].c_last, layers[i].c0,
                   states_of(layers[i]) * layers[i].batch * layers[i].units);
    }
    return nullptr;
  }
  const Kernels& k = kernels();
  return run_layers(layers, count, plan_steps, k.forward_scratch, k.forward);
}

const char* longshort_lstm_backward(const longshort_lstm* layers, int count) {
  const char* error = check_layers(layers, count, [](const longshort_lstm& a) -> const char* {
    if (!a.recurrent || !a.gates || !a.cells || !a.dz) return kMissing;
    if (!a.projection != !a.dprojected) return kMissing;
    if (a.norm_gain && (!a.norm_cell || !a.products || !a.statistics || !a.dz_x || !a.dnorm_gain ||
                        !a.dnorm_cell))
      return kMissing;
    return !a.projection && a.outputs != a.units ? kOutputs : nullptr;
  });
  if (error) return error;
  if (empty(layers)) {
    for (int i = 0; i < count; ++i) {
      copy_or_zero(layers[i].dh0, layers[i].dh_last, layers[i].batch * layers[i].outputs);
      copy_or_zero(layers[i].dc0, layers[i].dc_last,
                   states_of(layers[i]) * layers[i].batch * layers[i].units);
      copy_or_zero(layers[i].dpeephole, nullptr, 3 * layers[i].units);
      copy_or_zero(layers[i].dnorm_gain, nullptr, 2 * kGates * layers[i].units);
      if (layers[i].norm_gain) copy_or_zero(layers[i].dbias, nullptr, kGates * layers[i].units);
      copy_or_zero(layers[i].dnorm_cell, nullptr, 2 * layers[i].units);
    }
    return nullptr;
  }
  const Kernels& k = kernels();
  const auto size = [&](const longshort_lstm& a, const Plan&) { return k.backward_scratch(a); };
  return run_layers(layers, count, plan_steps, size, k.backward);
}

const char* longshort_lstm_weight_gradient(const longshort_lstm* layers, int count) {
  const char* error = check_layers(layers, count, [](const longshort_lstm& a) {
    return !a.x || !a.hs || !a.dz || !a.dkernel || !a.drecurrent ? kMissing : nullptr;
  });
  if (error) return error;
  if (empty(layers)) {
    for (int i = 0; i < count; ++i) {
      const longshort_lstm& a = layers[i];
      copy_or_zero(a.dkernel, nullptr, a.features * kGates * a.units);
      copy_or_zero(a.drecurrent, nullptr, a.outputs * kGates * a.units);
      copy_or_zero(a.dbias, nullptr, kGates * a.units);
    }
    return nullptr;
  }
  const Kernels& k = kernels();
  const auto plan = [](const longshort_lstm& a, int threads) {
    return Plan{plan_product(product_flops(a, a.features + a.outputs), threads)};
  };
  const auto size = [&](const longshort_lstm& a, const Plan& planned) {
    // Enough for the planned team, and for a team of one.
    const int64_t one = k.weight_gradient_scratch(a, 1);
    const int64_t all = k.weight_gradient_scratch(a, planned.threads);
    return all > one ? all : one;
  };
  return run_layers(layers, count, plan, size,
                    [&](const longshort_lstm& a, const Plan&, const Steps& steps, float* scratch,
                        const Team& team) { k.weight_gradient(a, steps, scratch, team); });
}

const char* longshort_lstm_input_gradient(const longshort_lstm* layers, int count) {
  const char* error = check_layers(layers, count, [](const longshort_lstm& a) {
    return !a.kernel || !a.dz || !a.dx ? kMissing : nullptr;
  });
  if (error || empty(layers)) return error;
  const Kernels& k = kernels();
  const auto plan = [](const longshort_lstm& a, int threads) {
    return Plan{plan_product(product_flops(a, a.features), threads)};
  };
  const auto size = [&](const longshort_lstm& a, const Plan& planned) {
    return k.input_gradient_scratch(a, planned.threads);
  };
  return run_layers(layers, count, plan, size,
                    [&](const longshort_lstm& a, const Plan&, const Steps& steps, float* scratch,
                        const Team& team) { k.input_gradient(a, steps, scratch, team); });
}

int64_t longshort_step_size(const longshort_step* a) {
  // Enough for every set: the one in use may change before the packing.
  int64_t largest = 0;
  for (const Kernels* k : kAll) {
    const int64_t size = k->step_size(*a);
    if (size > largest) largest = size;
  }
  return largest;
}

const char* longshort_step_pack(longshort_step* a) {
  if (a->batch < 1 || a->features < 1 || a->units < 1)
    return "batch, features and units must be at least 1";
  if (!a->kernel || !a->recurrent || !a->packed) return kMissing;
  const Kernels& k = kernels();
  k.pack_step(*a);
  a->set = &k;
  return nullptr;
}

const char* longshort_step_run(const longshort_step* a) {
  if (!a->set || !a->x || !a->h || !a->c) return kMissing;
  static_cast<const Kernels*>(a->set)->run_step(*a);
  return nullptr;
}

const char* longshort_isa(void) { return kernels().name; }

const char* longshort_set_isa(const char* name) {
  if (!name) {
    chosen.store(best(), std::memory_order_release);
    return nullptr;
  }
  for (const Kernels* k : kAll) {
    if (std::strcmp(k->name, name) != 0) continue;
    if (!k->supported()) return "this CPU lacks that instruction set";
    chosen.store(k, std::memory_order_release);
    return nullptr;
  }
  return "unknown instruction set";
}

int longshort_num_threads(void) { return num_threads(); }

const char* longshort_set_num_threads(int n) {
  return set_num_threads(n) ? nullptr : "the number of threads must be from 1 to 256";
}

}  // extern "C"
