// Attention of the last tokens of a sequence over its cached keys and values, a block of either at a time, so that
// memory does not follow the length (2205.14135, algorithm 1). A lane of a vector is a query:
//
//   S^T = K Q^T      m' = max(m, columns of S^T)      P^T = exp(S^T - m')
//   l = l e^(m - m') + columns of P^T                 O^T = O^T e^(m - m') + V^T P^T          out = O / l
//
// A block is summed up by itself before it meets the total: a share is not lost in the sum of a million others.
#include "gemm.h"
#include "scratch.h"

namespace {

constexpr int64_t kQueries = 32;
constexpr int64_t kKeys = 128;

template <class T>
struct ContinuedArguments {
  int64_t queries, seen;            // query i reads keys 0 .. seen + i
  int64_t heads, kv_heads, size;
  int64_t ld_query, ld_head;        // numbers from a query to the next; from a key head to the next, keys and values
  const T *q, *keys, *values;       // [queries, heads size], [kv_heads, seen + queries, size]
  T* out;                           // [queries, heads size]
};

template <class T>
struct Block {
  T *q, *total, *part;       // [size, kQueries]
  T *scores;                 // [kKeys, kQueries]
  T *most, *sum, *shrunk;    // [kQueries]
};

// Queries first .. first + n of a head, scaled, as columns; columns beyond n are zero.
template <class T>
void begin(const ContinuedArguments<T>& a, int64_t head, int64_t first, int64_t n, Block<T>& b) {
  const T scale = T(1) / std::sqrt(T(a.size));
  std::memset(b.q, 0, a.size * kQueries * sizeof(T));
  for (int64_t i = 0; i < n; ++i) {
    const T* row = a.q + (first + i) * a.ld_query + head * a.size;
    for (int64_t d = 0; d < a.size; ++d) b.q[d * kQueries + i] = row[d] * scale;
  }
  std::memset(b.total, 0, a.size * kQueries * sizeof(T));
  for (int64_t i = 0; i < kQueries; ++i) b.most[i] = -INFINITY, b.sum[i] = 0;
}

// n scores of each query become exponentials; `shrunk` is what sums up to here are worth by the new maximum.
template <class T>
void soften(int64_t n, Block<T>& b) {
  constexpr int64_t W = Lanes<T>::count;
  for (int64_t i = 0; i < kQueries; i += W) {
    const Vec<T> before = load(b.most + i);
    Vec<T> most = before;
    for (int64_t j = 0; j < n; ++j) {
      const Vec<T> score = load(b.scores + j * kQueries + i);
      most = score > most ? score : most;
    }
    const Vec<T> shrunk = exponential(before - most);
    Vec<T> sum = {};
    for (int64_t j = 0; j < n; ++j) {
      const Vec<T> share = exponential(load(b.scores + j * kQueries + i) - most);
      store(b.scores + j * kQueries + i, share);
      sum += share;
    }
    store(b.most + i, most);
    store(b.sum + i, load(b.sum + i) * shrunk + sum);
    store(b.shrunk + i, shrunk);
  }
}

// Shares [n, kQueries] times values [n, size], onto the total.
template <class T>
void add_values(const T* values, int64_t size, int64_t n, Block<T>& b) {
  constexpr int64_t W = Lanes<T>::count;
  gemm<T, false>(size, kQueries, n, Left<T>{values, 1, size}, b.scores, kQueries, b.part, kQueries);
  for (int64_t i = 0; i < kQueries; i += W) {
    const Vec<T> shrunk = load(b.shrunk + i);
    for (int64_t at = i; at < size * kQueries; at += kQueries) {
      store(b.total + at, load(b.total + at) * shrunk + load(b.part + at));
    }
  }
}

template <class T>
void attend(const ContinuedArguments<T>& a, int64_t head, int64_t first, Block<T>& b) {
  const int64_t n = std::min(kQueries, a.queries - first), reach = a.seen + first + n;
  const int64_t key_head = head / (a.heads / a.kv_heads);
  const T *keys = a.keys + key_head * a.ld_head, *values = a.values + key_head * a.ld_head;
  begin(a, head, first, n, b);
  for (int64_t j = 0; j < reach; j += kKeys) {
    const int64_t met = std::min(kKeys, reach - j);
    product(met, kQueries, a.size, keys + j * a.size, a.size, b.q, kQueries, b.scores, kQueries);
    for (int64_t key = std::max<int64_t>(0, a.seen + first + 1 - j); key < met; ++key) {
      const int64_t hidden = j + key - a.seen - first;  // the queries before this key
      for (int64_t i = 0; i < std::min(hidden, n); ++i) b.scores[key * kQueries + i] = -INFINITY;
    }
    soften(met, b);
    add_values(values + j * a.size, a.size, met, b);
  }
  for (int64_t i = 0; i < n; ++i) {
    T* row = a.out + ((first + i) * a.heads + head) * a.size;
    for (int64_t d = 0; d < a.size; ++d) row[d] = b.total[d * kQueries + i] / b.sum[i];
  }
}

template <class T>
void forward(const ContinuedArguments<T>& a, int64_t first, int64_t last) {
  Scratch scratch;
  auto columns = [&](int64_t rows) { return scratch.take<T>(rows * kQueries); };
  Block<T> block = {columns(a.size), columns(a.size), columns(a.size), columns(kKeys), columns(1), columns(1), columns(1)};
  for (int64_t part = first; part < last; ++part) attend(a, part % a.heads, part / a.heads * kQueries, block);
}

}  // namespace

// Parts are blocks of 32 queries, each of every head.
extern "C" void attention_continued(const ContinuedArguments<REAL>* a, int64_t first, int64_t last) {
  forward(*a, first, last);
}
