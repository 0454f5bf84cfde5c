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

constexpr int64_t kQueries = 32;   // queries that meet the keys together, one to a lane
constexpr int64_t kTokenRows = 64;  // tokens that go through a projection together

// n rows of a head's numbers -> [size, kQueries]; lanes without a row are zero.
template <class T>
inline void to_lanes(const AttentionArguments<T>& a, int64_t n, const T* rows, int64_t ld, T* to) {
  if (n < kQueries) std::memset(to, 0, a.size * kQueries * sizeof(T));
  transpose(n, a.size, rows, ld, to, kQueries);
}

// scores [first + n, kQueries] = keys times queries: of query first + lane with key j, at j * kQueries + lane.
template <class T>
inline void score(const AttentionArguments<T>& a, const T* rows, int64_t head, int64_t first, int64_t n,
                  const T* queries, T* scores) {
  product(first + n, kQueries, a.size, rows + a.key(head), a.row(), queries, kQueries, scores, kQueries);
}

// f(j, visible) for keys 0..first+n: visible(value, rest) keeps value in the lanes whose query sees key j.
template <class T, class F>
inline void each_key(int64_t first, int64_t n, int64_t lane, F f) {
  for (int64_t j = 0; j <= first; ++j) f(j, [](Vec<T> value, Vec<T>) { return value; });
  for (int64_t j = first + 1; j < first + n; ++j) {
    const int64_t blind = j - first - lane;  // lanes before this one
    f(j, [blind](Vec<T> value, Vec<T> rest) { return blind <= 0 ? value : first_lanes<T>(rest, blind, value); });
  }
}
