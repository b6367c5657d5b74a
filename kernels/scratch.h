// Scratch memory that is reused from call to call, so that its pages are touched once.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "layout.h"

namespace longshort {

// One block of at least `floats` floats, 64-byte aligned, uninitialised; given back at the end of
// the scope. At most one block a concurrent call is kept, the largest that was ever asked for.
class Scratch {
 public:
  explicit Scratch(int64_t floats) {
    std::lock_guard<std::mutex> lock(mutex());
    auto& blocks = free_blocks();
    if (!blocks.empty()) {
      block_ = blocks.back();
      blocks.pop_back();
    }
    if (block_.size < floats) {
      std::free(block_.data);
      block_ = Block{};
      void* data = nullptr;
      const size_t bytes = static_cast<size_t>(cache_lines(floats)) * sizeof(float);
      if (posix_memalign(&data, 64, bytes) != 0) throw std::bad_alloc();
      block_ = Block{static_cast<float*>(data), floats};
    }
  }
  ~Scratch() {
    std::lock_guard<std::mutex> lock(mutex());
    free_blocks().push_back(block_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* data() const { return block_.data; }

 private:
  struct Block {
    float* data = nullptr;
    int64_t size = 0;
  };
  static std::mutex& mutex() {
    static std::mutex* m = new std::mutex;  // never destroyed: threads may outlive main
    return *m;
  }
  static std::vector<Block>& free_blocks() {
    static auto* blocks = new std::vector<Block>;
    return *blocks;
  }
  Block block_;
};

}  // namespace longshort
