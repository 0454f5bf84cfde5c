// A block of tokens through the mixture-of-experts layer; see moe.h.
#pragma once

#include "moe.h"

template <class T>
struct MoEForward {
  const MoEArguments<T>& a;
  Pairs<T> pairs;
  T *u, *logits, *rank, *chosen, *weights, *gathered, *hidden, *shared, *result;

  MoEForward(const MoEArguments<T>& arguments, Scratch& scratch) : a(arguments), pairs(arguments, scratch) {
    u = scratch.take<T>(a.block * a.D);
    logits = scratch.take<T>(a.block * padded<T>(a.E));
    rank = scratch.take<T>(a.E);
    chosen = scratch.take<T>(a.block * a.k);
    weights = scratch.take<T>(a.block * a.k);
    gathered = scratch.take<T>(a.block * a.D);
    result = scratch.take<T>(a.block * a.D);
    hidden = scratch.take<T>(a.block * a.k * a.units());
    shared = scratch.take<T>(a.block * (a.units() > a.shared_units() ? a.units() : a.shared_units()));
  }

  void route(int64_t n, int64_t* experts, const int64_t* recorded) {
    const int64_t lde = padded<T>(a.E);
    product(n, lde, a.D, u, a.D, a.gate_t, lde, logits, lde);
    for (int64_t t = 0; t < n; ++t) {
      T* scores = logits + t * lde;
      each<T>(a.E, [&](int64_t e, int64_t lanes) { store(scores + e, sigmoid(load(scores + e, lanes)), lanes); });
      int64_t* mine = experts + t * a.k;
      bool live = true;
      if (recorded) {
        live = false;
        for (int64_t j = 0; j < a.k; ++j) live = live || recorded[t * a.k + j] < 0;
      }
      if (live) {
        choose(a, scores, rank, mine);
      } else {
        std::memcpy(mine, recorded + t * a.k, a.k * sizeof(int64_t));
      }
      for (int64_t j = 0; j < a.k; ++j) chosen[t * a.k + j] = scores[mine[j]];
      const T total = normaliser(a, chosen + t * a.k);
      for (int64_t j = 0; j < a.k; ++j) weights[t * a.k + j] = chosen[t * a.k + j] / total * T(a.scale);
    }
  }

  void run(int64_t first, int64_t n) {
    T* out = a.out + first * a.D;
    int64_t* experts = a.experts + first * a.k;
    rms_norm_rows<T>(n, a.D, a.x + first * a.D, a.norm, a.eps, u, a.D, nullptr);
    route(n, experts, a.recorded ? a.recorded + first * a.k : nullptr);
    if (a.chosen) std::memcpy(a.chosen + first * a.k, chosen, n * a.k * sizeof(T));
    add_shared(n, a.x + first * a.D, out, a.shared_hidden ? a.shared_hidden + first * a.shared_units() : shared);
    pairs.sort(a, n, experts, weights);
    T* r = a.hidden ? a.hidden + first * a.k * a.units() : hidden;
    for (int64_t e = 0; e < a.E; ++e) {
      for (int64_t from = pairs.ends[e]; from < pairs.ends[e + 1]; from += a.block) {
        const int64_t rest = pairs.ends[e + 1] - from;
        add_expert(e, from, rest < a.block ? rest : a.block, r + from * a.units(), out);
      }
    }
  }

  void add_shared(int64_t n, const T* x, T* out, T* r) {
    const int64_t ld = a.shared_units();
    product(n, ld, a.D, u, a.D, a.shared_up_t, ld, r, ld);
    for (int64_t i = 0; i < n * ld; i += Lanes<T>::count) {
      const Vec<T> value = positive(load(r + i));
      store(r + i, value);
      store(shared + i, value * value);
    }
    if (out != x) std::memcpy(out, x, n * a.D * sizeof(T));
    product_add(n, a.D, a.S, shared, ld, a.shared_down_t, a.D, out, a.D);
  }

  // out += weight down(relu(up u)^2) for the rows from..from+rows of the pairs, all of expert e.
  void add_expert(int64_t e, int64_t from, int64_t rows, T* r, T* out) {
    const int64_t ld = a.units();
    copy_rows(rows, a.D, u, pairs.token + from, gathered);
    product(rows, ld, a.D, gathered, a.D, a.up_t + e * a.D * ld, ld, r, ld);
    for (int64_t i = 0; i < rows; ++i) {
      const T weight = pairs.weight[from + i];
      for (int64_t c = i * ld; c < (i + 1) * ld; c += Lanes<T>::count) {
        const Vec<T> value = positive(load(r + c));
        store(r + c, value);
        store(shared + c, value * value * weight);
      }
    }
    product(rows, a.D, a.I, shared, ld, a.down + e * a.I * a.D, a.D, result, a.D);
    add_rows(rows, a.D, result, out, pairs.token + from);
  }
};
