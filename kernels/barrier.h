// Where the threads of a team wait for each other.
#pragma once
#include <atomic>

namespace longshort {

// Waits until all `threads` of a team have arrived.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait();

 private:
  const int threads_;
  // On lines of their own: arriving must not disturb those that look at the phase.
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> phase_{0};
};

}  // namespace longshort
