// Working memory of one thread, kept from call to call, so that no call meets fresh pages.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "vectors.h"

inline int64_t rounded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// n numbers rounded up to whole cache lines, and so to whole vectors of any width; Python counts rows the same way.
template <class T>
inline int64_t padded(int64_t n) {
  return rounded(n, 64 / sizeof(T));
}

class Scratch {
 public:
  Scratch() : blocks_(kept()), at_(0) {}

  // Room for n numbers, rounded up to whole cache lines, of no particular content.
  template <class T>
  T* take(int64_t n) {
    const size_t bytes = rounded(n * static_cast<int64_t>(sizeof(T)), 64) + 64;
    if (at_ == blocks_.size()) blocks_.emplace_back();
    Block& block = blocks_[at_++];
    if (block.bytes < bytes) {
      block.memory.reset(static_cast<char*>(std::aligned_alloc(64, bytes)));
      block.bytes = block.memory ? bytes : 0;
      if (!block.memory) std::abort();
    }
    return reinterpret_cast<T*>(block.memory.get());
  }

  // What was taken since `mark` may be taken again.
  size_t mark() const { return at_; }
  void release(size_t mark) { at_ = mark; }

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  struct Block {
    std::unique_ptr<char, Free> memory;
    size_t bytes = 0;
  };
  static std::vector<Block>& kept() {
    static thread_local std::vector<Block> blocks;
    return blocks;
  }
  std::vector<Block>& blocks_;
  size_t at_;
};
