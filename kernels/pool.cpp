#include "pool.h"

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace longshort {
namespace {

constexpr int kMaxThreads = 256;
// About 100 microseconds (a pause is 25 ns on Zen 5): longer than the gap between the kernel calls
// of one training step, short enough to leave the CPU to others soon.
constexpr int kSpins = 4000;

inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until done(); after kSpins gives the CPU away at each turn, for when threads outnumber CPUs.
template <class Done>
void spin_until(Done done) {
  for (int i = 0; !done(); ++i) {
    if (i < kSpins) {
      pause_cpu();
    } else {
      std::this_thread::yield();
    }
  }
}

int usable_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n ? static_cast<int>(n) : 1;
}

struct Job {
  void (*body)(void*, const Team&) = nullptr;
  void* data = nullptr;
  Barrier* barrier = nullptr;
  int size = 0;
};

class Pool {
 public:
  void run(int threads, void (*body)(void*, const Team&), void* data) {
    std::unique_lock<std::mutex> owner(owner_, std::try_to_lock);
    if (threads <= 1 || !owner || !start_workers(threads - 1)) {
      Barrier alone(1);
      body(data, Team{0, 1, &alone});
      return;
    }
    Barrier barrier(threads);
    job_ = Job{body, data, &barrier, threads};
    pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> lock(sleep_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    body(data, Team{0, threads, &barrier});
    spin_until([&] { return pending_.load(std::memory_order_acquire) == 0; });
  }

 private:
  bool start_workers(int n) {
    while (static_cast<int>(workers_.size()) < n) {
      const int index = static_cast<int>(workers_.size()) + 1;
      const unsigned seen = generation_.load(std::memory_order_relaxed);
      try {
        workers_.emplace_back([this, index, seen] { work(index, seen); });
      } catch (const std::system_error&) {
        return false;
      }
      workers_.back().detach();
    }
    return true;
  }

  void work(int index, unsigned seen) {
    for (;;) {
      for (int i = 0; i < kSpins && generation_.load(std::memory_order_acquire) == seen; ++i)
        pause_cpu();
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(sleep_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
      }
      seen = generation_.load(std::memory_order_acquire);
      const Job job = job_;
      if (index < job.size) job.body(job.data, Team{index, job.size, job.barrier});
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex owner_;                  // held by the call that uses the workers
  std::vector<std::thread> workers_;  // detached; they live as long as the process
  Job job_;
  std::atomic<unsigned> generation_{0};
  std::atomic<int> pending_{0};
  std::mutex sleep_;
  std::condition_variable wake_;
};

std::atomic<Pool*> the_pool{nullptr};
std::atomic<int> the_num_threads{0};

// A forked child has none of its parent's threads and may hold their locks: it gets a new pool,
// the old one is left behind on purpose.
Pool& pool() {
  static const bool prepared = [] {
    the_pool.store(new Pool);
#if defined(__linux__)
    pthread_atfork(nullptr, nullptr, [] { the_pool.store(new Pool); });
#endif
    return true;
  }();
  (void)prepared;
  return *the_pool.load();
}

}  // namespace

void Barrier::wait() {
  const int phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
  } else {
    spin_until([&] { return phase_.load(std::memory_order_acquire) != phase; });
  }
}

void Team::wait() const {
  if (size > 1) barrier->wait();
}

void run_team(int threads, void (*body)(void*, const Team&), void* data) {
  pool().run(threads, body, data);
}

int num_threads() {
  int n = the_num_threads.load();
  if (n == 0) {
    n = usable_cpus();
    the_num_threads.store(n);
  }
  return n;
}

bool set_num_threads(int n) {
  if (n < 1 || n > kMaxThreads) return false;
  the_num_threads.store(n);
  return true;
}

}  // namespace longshort
