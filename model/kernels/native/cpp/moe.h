// A whole mixture-of-experts layer, x + shared(u) + sum of chosen experts(u) with u = norm(x), a block of tokens at a
// time. The formulas stand in kernels/{router,experts}.py; here are what both directions share.
//
// D width, E experts of I units, k of them for each token, S units of the shared expert. In a block the pairs (token,
// one of its experts) are sorted by expert, tokens in order: a block of rows for each expert.
#pragma once

#include <cmath>
#include <limits>

#include "gemm.h"
#include "norms.h"
#include "scratch.h"

template <class T>
struct MoEArguments {
  int64_t tokens, D, E, I, S, k, block, normalise;
  double eps, scale;
  const T *x, *norm, *gate, *gate_t, *bias;    // bias is centred
  const T *up, *up_t, *down, *down_t;          // [E, I, D], and [E, D, padded I] of both
  const T *shared_up, *shared_up_t, *shared_down, *shared_down_t;  // [S, D], [D, padded S], [D, S], [S, D]
  const int64_t* recorded;                     // [T, k] or null; a row with a negative number is chosen live
  T* out;                                      // [T, D]
  int64_t* experts;                            // [T, k]
  T *chosen, *hidden, *shared_hidden;  // kept or null: scores [T, k], relu [T k, padded I], relu [T, padded S]
  const T* grad_out;
  T *grad_x, *grads;

  int64_t units() const { return padded<T>(I); }
  int64_t shared_units() const { return padded<T>(S); }
};

// The experts of one token, best first: ties to the lower index, what is not a number after every other.
template <class T>
inline void choose(const MoEArguments<T>& a, const T* scores, T* rank, int64_t* experts) {
  constexpr T least = std::numeric_limits<T>::lowest(), most = std::numeric_limits<T>::max();
  for (int64_t e = 0; e < a.E; ++e) {
    const T value = scores[e] + a.bias[e];
    rank[e] = value != value ? least : (value < least ? least : (value > most ? most : value));
  }
  for (int64_t j = 0; j < a.k; ++j) {
    int64_t best = 0;
    for (int64_t e = 1; e < a.E; ++e) {
      if (rank[e] > rank[best]) best = e;
    }
    experts[j] = best;
    rank[best] = -std::numeric_limits<T>::infinity();
  }
}

template <class T>
struct Pairs {
  int64_t *token, *place, *ends;  // [n k] token of the block and which of its k; [E + 1] where each expert's rows begin
  T* weight;                      // [n k]

  Pairs(const MoEArguments<T>& a, Scratch& scratch) {
    token = scratch.take<int64_t>(a.block * a.k);
    place = scratch.take<int64_t>(a.block * a.k);
    ends = scratch.take<int64_t>(a.E + 2);
    weight = scratch.take<T>(a.block * a.k);
  }

  // experts and weights [n, k] of a block.
  void sort(const MoEArguments<T>& a, int64_t n, const int64_t* experts, const T* weights) {
    std::memset(ends, 0, (a.E + 2) * sizeof(int64_t));
    for (int64_t p = 0; p < n * a.k; ++p) ++ends[experts[p] + 2];
    for (int64_t e = 2; e < a.E + 2; ++e) ends[e] += ends[e - 1];
    for (int64_t p = 0; p < n * a.k; ++p) {
      const int64_t at = ends[experts[p] + 1]++;
      token[at] = p / a.k, place[at] = p % a.k, weight[at] = weights[p];
    }
  }
};

// Weights of the chosen from their scores [k].
template <class T>
inline T normaliser(const MoEArguments<T>& a, const T* chosen) {
  T total = 0;
  for (int64_t j = 0; j < a.k; ++j) total += chosen[j];
  return a.normalise ? total + T(1e-20) : T(1);
}

template <class T>
inline void copy_rows(int64_t rows, int64_t size, const T* from, const int64_t* which, T* to) {
  for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * size, from + which[r] * size, size * sizeof(T));
}

template <class T>
inline void add_rows(int64_t rows, int64_t size, const T* from, T* to, const int64_t* which) {
  for (int64_t r = 0; r < rows; ++r) {
    each<T>(size, [&](int64_t i, int64_t n) {
      T* at = to + which[r] * size + i;
      store(at, load(at, n) + load(from + r * size + i, n), n);
    });
  }
}
