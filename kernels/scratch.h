// Scratch memory that is reused from call to call, so that its pages are touched once.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

#include "layout.h"

namespace longshort {

// One block of at least `floats` floats, 64-byte aligned, uninitialised; given back at the end of
// the scope. At most one block a concurrent call is kept, the largest that was ever asked for.
class Scratch {
 public:
  explicit Scratch(int64_t floats) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      block_ = kept_;
      if (block_) kept_ = block_->next;
    }
    if (block_ && block_->floats >= floats) return;
    std::free(block_);
    const size_t bytes = sizeof(Block) + static_cast<size_t>(cache_lines(floats)) * sizeof(float);
    void* memory = nullptr;
    if (posix_memalign(&memory, alignof(Block), bytes) != 0) throw std::bad_alloc();
    block_ = new (memory) Block{nullptr, floats};
  }
  ~Scratch() {
#if defined(__SANITIZE_ADDRESS__)
    std::free(block_);  // a larger block, kept, would hide accesses past the end of this one
#else
    std::lock_guard<std::mutex> lock(mutex);
    block_->next = kept_;
    kept_ = block_;
#endif
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* data() const { return reinterpret_cast<float*>(block_ + 1); }

  // Guards the list of kept blocks; a fork holds it too (pool.cpp), so that a child finds the list
  // whole.
  inline static std::mutex mutex;

 private:
  struct alignas(64) Block {  // the floats follow
    Block* next;
    int64_t floats;
  };
  inline static Block* kept_ = nullptr;
  Block* block_;
};

}  // namespace longshort
