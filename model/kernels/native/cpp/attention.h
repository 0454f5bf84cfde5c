// A whole attention layer, x + mixer(norm(x)), causal within each sequence, a few rows of scores at a time. The formulas
// stand in kernels/attention.py; here are what both directions share.
//
// D width, heads of `size` numbers that read kv_heads key heads; a row of qkv is q | k | v, padded to whole vectors.
#pragma once

#include <algorithm>

#include "gemm.h"
#include "norms.h"
#include "scratch.h"

template <class T>
struct AttentionArguments {
  int64_t D, heads, kv_heads, size;
  double eps;
  const int64_t* bounds;  // [B+1]
  const T *x, *norm, *qkv, *qkv_t, *o, *o_t;
  T *out, *projected;      // [T, D], [T, row]
  T *attended, *lse;       // kept or null: [T, heads size], log of the sum of exponentials [T, heads]
  const T* grad_out;
  T *grad_x, *grads;

  int64_t inner() const { return heads * size; }
  int64_t columns() const { return (heads + 2 * kv_heads) * size; }
  int64_t row() const { return padded<T>(columns()); }
  int64_t key(int64_t head) const { return (heads + head / (heads / kv_heads)) * size; }
  int64_t value(int64_t head) const { return key(head) + kv_heads * size; }
  T scale() const { return T(1) / std::sqrt(T(size)); }
};

constexpr int64_t kQueryRows = 32;   // queries that meet the keys together
constexpr int64_t kTokenRows = 64;   // tokens that go through a projection together

template <class T>
inline void scaled_queries(const AttentionArguments<T>& a, const T* rows, int64_t head, int64_t first, int64_t n,
                           T* to) {
  for (int64_t i = 0; i < n; ++i) {
    each<T>(a.size, [&](int64_t d, int64_t lanes) {
      store(to + i * a.size + d, load(rows + (first + i) * a.row() + head * a.size + d, lanes) * a.scale(), lanes);
    });
  }
}
