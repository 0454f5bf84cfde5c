// Log-probability of the target and entropy of the distribution, both directions; the formulas stand in
// kernels/logprob.py. Logits exist for a block of tokens at a time and are made again for the gradient: for tables that
// fit a cache that costs less than writing them to memory and reading them back.
#include <algorithm>

#include "gemm.h"
#include "scratch.h"

template <class T>
struct LogprobArguments {
  int64_t tokens, D, V;
  double inverse_temperature;
  const T *hidden, *weight, *weight_t;  // [T, D], [V, D], [D, apart V]
  const int64_t* targets;               // [T]
  T *logprobs, *entropy, *normaliser;   // [T]
  const T *grad, *grad_entropy;         // [T] or null
  T *grad_hidden, *grads;
};

namespace {

constexpr int64_t kRows = 64;

template <class T>
struct Head {
  const LogprobArguments<T>& a;
  int64_t ld;
  T* z;

  // Rows of a power of two would meet in few places of a cache.
  static int64_t apart(int64_t columns) { return padded<T>(columns) + 64 / sizeof(T); }

  Head(const LogprobArguments<T>& arguments, Scratch& scratch)
      : a(arguments), ld(apart(arguments.V)), z(scratch.take<T>(kRows * ld)) {}

  void logits(int64_t first, int64_t n) {
    product(n, a.V, a.D, a.hidden + first * a.D, a.D, a.weight_t, ld, z, ld);
    if (a.inverse_temperature == 1.0) return;
    for (int64_t i = 0; i < n; ++i) {
      each<T>(a.V, [&](int64_t v, int64_t lanes) {
        store(z + i * ld + v, load(z + i * ld + v, lanes) * T(a.inverse_temperature), lanes);
      });
    }
  }

  // f(offset, lanes, whole) for every vector of a row: the last one may be less than whole.
  template <class F>
  void across(F f) const {
    constexpr int64_t W = Lanes<T>::count;
    int64_t v = 0;
#pragma GCC unroll 4
    for (; v + W <= a.V; v += W) f(v, W, std::true_type());
    if (v < a.V) f(v, a.V - v, std::false_type());
  }

  void forward(int64_t first, int64_t n) {
    logits(first, n);
    for (int64_t i = 0; i < n; ++i) {
      const T* row = z + i * ld;
      Vec<T> most = Vec<T>{} + row[0];
      across([&](int64_t v, int64_t lanes, auto whole) {
        Vec<T> part = load(row + v, lanes);
        if constexpr (!whole) part = first_lanes<T>(part, lanes, most);
        most = part > most ? part : most;
      });
      const T highest = largest<T>(most);
      Vec<T> total = {}, along = {};
      across([&](int64_t v, int64_t lanes, auto whole) {
        const Vec<T> shifted = load(row + v, lanes) - highest;
        Vec<T> part = exponential_below(shifted);
        if constexpr (!whole) part = first_lanes<T>(part, lanes);
        total += part;
        // what has no probability adds nothing, however low its logit
        along += part == Vec<T>{} ? part : part * shifted;
      });
      const T sums = sum<T>(total), log_total = std::log(sums);
      a.logprobs[first + i] = row[a.targets[first + i]] - highest - log_total;
      a.entropy[first + i] = log_total - sum<T>(along) / sums;
      a.normaliser[first + i] = highest + log_total;
    }
  }

  void backward(int64_t first, int64_t n, T* d_weight) {
    logits(first, n);
    for (int64_t i = 0; i < n; ++i) {
      T* row = z + i * ld;
      const T normaliser = a.normaliser[first + i], entropy = a.entropy[first + i];
      const T g = (a.grad ? a.grad[first + i] : T(0)) * T(a.inverse_temperature);
      const T gh = (a.grad_entropy ? a.grad_entropy[first + i] : T(0)) * T(a.inverse_temperature);
      if (gh == 0) {
        across([&](int64_t v, int64_t lanes, auto) {
          store(row + v, exponential_below(load(row + v, lanes) - normaliser) * -g, lanes);
        });
      } else {
        across([&](int64_t v, int64_t lanes, auto) {
          const Vec<T> logp = load(row + v, lanes) - normaliser, p = exponential_below(logp);
          store(row + v, p * -g - (p == Vec<T>{} ? p : p * (logp + entropy) * gh), lanes);
        });
      }
      row[a.targets[first + i]] += g;
    }
    outer_add(a.V, a.D, n, z, ld, a.hidden + first * a.D, a.D, d_weight, a.D);
    product(n, a.D, a.V, z, ld, a.weight, a.D, a.grad_hidden + first * a.D, a.D);
  }
};

}  // namespace

// Blocks first..last of 64 tokens.
extern "C" void logprob_forward(const LogprobArguments<REAL>* a, int64_t first, int64_t last) {
  Scratch scratch;
  Head<REAL> head(*a, scratch);
  for (int64_t t = first * kRows; t < std::min(last * kRows, a->tokens); t += kRows) {
    head.forward(t, std::min(kRows, a->tokens - t));
  }
}

extern "C" void logprob_backward(const LogprobArguments<REAL>* a, int64_t first, int64_t last, int64_t part) {
  Scratch scratch;
  Head<REAL> head(*a, scratch);
  REAL* d_weight = a->grads + part * a->V * a->D;
  std::memset(d_weight, 0, a->V * a->D * sizeof(REAL));
  for (int64_t t = first * kRows; t < std::min(last * kRows, a->tokens); t += kRows) {
    head.backward(t, std::min(kRows, a->tokens - t), d_weight);
  }
}
