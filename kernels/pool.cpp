#include "pool.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include <pthread.h>

#include "barrier.h"
#include "scratch.h"

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
  asm volatile("isb");  // `yield` does nothing on most cores
#endif
}

template <class Done>
bool spin(Done done) {
  for (int i = 0; i < kSpins; ++i) {
    if (done()) return true;
    pause_cpu();
  }
  return done();
}

// After kSpins gives the CPU away at each turn: the thread waited for may have none.
template <class Done>
void spin_until(Done done) {
  if (spin(done)) return;
  while (!done()) std::this_thread::yield();
}

int usable_cpus() {
  int n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
  return n < 1 ? 1 : n > kMaxThreads ? kMaxThreads : n;
}

constexpr int kMostPlaced = 16;  // in teams of more, asking for each would take longer than it gains

// Where sleeping workers are woken: on other CPUs than that of the thread that wakes them. The system
// likes to wake a thread where the one that wakes it runs, and where all others are busy - XLA's
// threads spin for a while before they sleep - it waits there for milliseconds behind the very thread
// that will wait for it. Once awake a worker may run wherever its caller may.
class Places {
 public:
  // Of the calling thread, for a team of so many.
  void look(int size) {
#if defined(__linux__)
    const int here = sched_getcpu();
    if (size > kMostPlaced || here < 0 || here >= CPU_SETSIZE) return;
    if (sched_getaffinity(0, sizeof allowed_, &allowed_) != 0) return;
    others_ = allowed_;
    CPU_CLR(here, &others_);
    known_ = CPU_COUNT(&others_) >= size - 1;
#else
    (void)size;
#endif
  }

  // Whether that thread, asleep, will wake elsewhere; it is then to call `anywhere`.
  bool elsewhere(int thread) const {
#if defined(__linux__)
    return known_ && sched_setaffinity(thread, sizeof others_, &others_) == 0;
#else
    (void)thread;
    return false;
#endif
  }

  void anywhere() const {
#if defined(__linux__)
    sched_setaffinity(0, sizeof allowed_, &allowed_);
#endif
  }

 private:
#if defined(__linux__)
  cpu_set_t allowed_, others_;
  bool known_ = false;
#endif
};

int thread_id() {
#if defined(__linux__)
  return static_cast<int>(syscall(SYS_gettid));
#else
  return 0;
#endif
}

// What a team does; on the stack of the thread that called.
struct Job {
  void (*body)(void*, const Team&);
  void* data;
  int size;
  Places places;
  Barrier barrier{size};
  std::atomic<int> ended{0};
};

// A thread that does its share of one job after the other, as long as the process lives.
class Worker {
 public:
  Worker* next = nullptr;  // in the list of idle workers, or of one team

  Worker() { std::thread(&Worker::loop, this).detach(); }

  void give(Job* job, int index) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      elsewhere_ = asleep_ && job->places.elsewhere(thread_);
      index_ = index;
      job_.store(job, std::memory_order_release);
    }
    given_.notify_one();
  }

 private:
  void loop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      thread_ = thread_id();
    }
    for (;;) {
      const auto given = [this] { return job_.load(std::memory_order_acquire) != nullptr; };
      if (!spin(given)) {
        std::unique_lock<std::mutex> lock(mutex_);
        asleep_ = true;
        given_.wait(lock, given);
        asleep_ = false;
      }
      Job* job = job_.load(std::memory_order_relaxed);
      if (elsewhere_) job->places.anywhere();
      job_.store(nullptr, std::memory_order_relaxed);
      job->body(job->data, Team{index_, job->size, &job->barrier});
      job->ended.fetch_add(1, std::memory_order_release);  // the job may be gone after this
    }
  }

  std::mutex mutex_;
  std::condition_variable given_;
  std::atomic<Job*> job_{nullptr};
  int index_ = 0;
  int thread_ = 0;
  bool asleep_ = false, elsewhere_ = false;
};

std::atomic<int> the_num_threads{0};

// The workers, and how many threads are in calls. Needs no initialisation at run time, which a
// fork could find half done.
class Pool {
 public:
  // Takes `threads` - 1 workers; null, and a team of one, where they are not to be had.
  Worker* begin(int threads) {
    std::lock_guard<std::mutex> lock(mutex);
    if (threads > 1 && busy_ + threads <= num_threads() && enough_idle(threads - 1)) {
      busy_ += threads;
      Worker* first = idle_;
      Worker* last = first;
      for (int i = 2; i < threads; ++i) last = last->next;
      idle_ = last->next;
      last->next = nullptr;
      return first;
    }
    ++busy_;
    return nullptr;
  }

  // Gives the workers back in the order in which they were taken: each has the same part of the
  // next call, and finds it in its cache.
  void end(int threads, Worker* first) {
    std::lock_guard<std::mutex> lock(mutex);
    busy_ -= threads;
    if (!first) return;
    Worker* last = first;
    while (last->next) last = last->next;
    last->next = idle_;
    idle_ = first;
  }

  int free_threads() {
    std::lock_guard<std::mutex> lock(mutex);
    const int n = num_threads() - busy_;
    return n < 1 ? 1 : n;
  }

  // In a forked child, which has none of its parent's threads.
  void forget_threads() {
    idle_ = nullptr;
    busy_ = 0;
  }

  std::mutex mutex;

 private:
  bool enough_idle(int n) {
    Worker** at = &idle_;
    for (; n > 0; --n, at = &(*at)->next) {
      if (*at) continue;
      try {
        *at = new Worker;
      } catch (const std::exception&) {  // no memory, or no more threads
        return false;
      }
    }
    return true;
  }

  Worker* idle_ = nullptr;
  int busy_ = 0;
};

Pool pool;

// A fork waits until no other thread holds one of our locks, which nobody in the child would open.
const int at_fork = pthread_atfork(
    [] {
      pool.mutex.lock();
      Scratch::mutex.lock();
    },
    [] {
      Scratch::mutex.unlock();
      pool.mutex.unlock();
    },
    [] {
      pool.forget_threads();
      Scratch::mutex.unlock();
      pool.mutex.unlock();
    });

}  // namespace

void Barrier::wait() {
  const int phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    phase_.notify_all();
  } else if (!spin([&] { return phase_.load(std::memory_order_acquire) != phase; })) {
    // Asleep it has its share of the CPU to come, and is woken in time. One that gives the CPU away at each
    // turn is behind busy processes when the others arrive, and these then when it does.
    phase_.wait(phase, std::memory_order_acquire);
  }
}

void Team::wait() const {
  if (size > 1) barrier->wait();
}

void run_team(int threads, void (*body)(void*, const Team&), void* data) {
  Worker* workers = pool.begin(threads);
  Job job{body, data, workers ? threads : 1, {}};
  if (workers) job.places.look(threads);
  int index = 0;
  for (Worker* worker = workers; worker; worker = worker->next) worker->give(&job, ++index);
  body(data, Team{0, job.size, &job.barrier});
  spin_until([&] { return job.ended.load(std::memory_order_acquire) == index; });
  pool.end(job.size, workers);
}

int free_threads() { return pool.free_threads(); }

int num_threads() {
  int n = the_num_threads.load(std::memory_order_relaxed);
  if (n == 0) {
    // Unless another thread has set it meanwhile.
    const int cpus = usable_cpus();
    if (the_num_threads.compare_exchange_strong(n, cpus)) n = cpus;
  }
  return n;
}

bool set_num_threads(int n) {
  if (n < 1 || n > kMaxThreads) return false;
  the_num_threads.store(n);
  return true;
}

}  // namespace longshort
