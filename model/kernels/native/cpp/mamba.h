// A whole Mamba-2 layer, x + mixer(norm(x)), a chunk of a sequence at a time, so that what lies between its steps never
// leaves the cache. The formulas stand in kernels/{norm,conv,ssd_chunked}.py; here are what both directions share.
//
// D width, H heads of P channels in G groups, N state size, K taps, chunks of Q tokens. A row of in_proj is
// z | x B C | dt, padded to whole vectors.
#pragma once

#include "gemm.h"
#include "norms.h"
#include "scratch.h"

template <class T>
struct MambaArguments {
  int64_t D, H, P, G, N, K, Q;
  double eps;
  const int64_t* bounds;       // [B+1]: where each sequence begins
  const int64_t* first_state;  // [B]: the place of each sequence's first state; it has one more than chunks
  const T *x;                  // [T, D]
  const T *norm, *in_proj, *in_proj_t, *taps, *conv_bias, *dt_bias, *A, *skip, *gate_norm, *out_proj, *out_proj_t;
  const T *conv_in, *ssm_in;  // [B, K-1, C] and [B, G, N, RP]: where sequences go on from; null: from nothing
  T *out;                     // [T, D]
  T *conv_out, *ssm_out;      // the same at their ends, where wanted
  T *projected, *steps, *scanned, *states;  // kept for the gradient, or null: [T, row], dt [T, H], y [T, inner], states
  const T *grad_out;                        // [T, D]
  T *grad_x;                                // [T, D]
  T *grads;                                 // one block of all weight gradients for each part

  int64_t inner() const { return H * P; }
  int64_t channels() const { return inner() + 2 * G * N; }
  int64_t columns() const { return inner() + channels() + H; }
  int64_t row() const { return padded<T>(columns()); }
  int64_t group() const { return inner() / G; }
  int64_t state() const { return N * inner(); }
};

// One chunk of q tokens from token t on: everything that follows from its rows of in_proj.
template <class T>
struct Chunk {
  const MambaArguments<T>& a;
  int64_t t, q, width;
  const T* rows;  // [q, row]: z | xBC | dt
  T *pre, *open, *stream, *u, *s, *from_start, *to_end, *mixing, *decay, *b_t;

  Chunk(const MambaArguments<T>& arguments, Scratch& scratch) : a(arguments), width(padded<T>(arguments.Q)) {
    pre = scratch.take<T>(a.Q * a.channels());
    open = scratch.take<T>(a.Q * a.channels());
    stream = scratch.take<T>(a.Q * a.channels());
    u = scratch.take<T>(a.Q * a.inner());
    s = scratch.take<T>(a.H * width);
    from_start = scratch.take<T>(a.H * width);
    to_end = scratch.take<T>(a.H * width);
    mixing = scratch.take<T>(a.Q * width);
    decay = scratch.take<T>(a.Q * width);
    b_t = scratch.take<T>(a.N * width);
  }

  // Whether every tap of token i finds an input: all but the first few of a sequence.
  bool full(int64_t i, int64_t start) const { return a.conv_in || t + i - start >= a.K - 1; }

  // xBC of token t + i - back of the sequence that begins at `start`: null before it, unless it goes on from a state.
  const T* input(int64_t i, int64_t back, int64_t start, int64_t sequence) const {
    const int64_t before = start - (t + i - back);
    if (before <= 0) return rows + (i - back) * a.row() + a.inner();
    if (!a.conv_in) return nullptr;
    return a.conv_in + (sequence * (a.K - 1) + a.K - 1 - before) * a.channels();
  }

  void convolve(int64_t start, int64_t sequence) {
    int64_t i = 0;
    for (; i < q && (i < a.K - 1); ++i) convolve_row(i, start, sequence);
    if (a.K == 4) {
      convolve_rows<4>(i);
    } else {
      convolve_rows<0>(i);
    }
  }

  // A token that may look back beyond the chunk.
  void convolve_row(int64_t i, int64_t start, int64_t sequence) {
    const int64_t C = a.channels();
    const T* inputs[16];
    for (int64_t back = 0; back < a.K; ++back) inputs[back] = input(i, back, start, sequence);
    const int64_t seen = full(i, start) ? a.K : t + i - start + 1;
    const T* last_tap = a.taps + (a.K - 1) * C;
    each<T>(C, [&](int64_t c, int64_t n) {
      Vec<T> total = load(a.conv_bias + c, n);
      for (int64_t back = 0; back < seen; ++back) total += load(inputs[back] + c, n) * load(last_tap - back * C + c, n);
      activate(i, c, n, total);
    });
  }

  // All tokens from i on, a vector of channels at a time, whose taps stay in registers. TAPS is K, or 0: not known here.
  template <int TAPS>
  void convolve_rows(int64_t i) {
    const int64_t C = a.channels(), K = TAPS ? TAPS : a.K, row = a.row();
    each<T>(C, [&](int64_t c, int64_t n) {
      Vec<T> taps[TAPS ? TAPS : 16];
#pragma GCC unroll 4
      for (int64_t back = 0; back < K; ++back) taps[back] = load(a.taps + (K - 1 - back) * C + c, n);
      const Vec<T> bias = load(a.conv_bias + c, n);
      const T* from = rows + i * row + a.inner() + c;
      for (int64_t r = i; r < q; ++r, from += row) {
        Vec<T> total = bias;
#pragma GCC unroll 4
        for (int64_t back = 0; back < K; ++back) total += load(from - back * row, n) * taps[back];
        activate(r, c, n, total);
      }
    });
  }

  void activate(int64_t i, int64_t c, int64_t n, Vec<T> total) {
    const int64_t at = i * a.channels() + c;
    const Vec<T> gate = sigmoid(total);
    store(pre + at, total, n);
    store(open + at, gate, n);
    store(stream + at, total * gate, n);
  }

  // dt before its softplus, to [q, H].
  void raw_steps(T* to) const {
    for (int64_t i = 0; i < q; ++i) {
      const T* from = rows + i * a.row() + a.inner() + a.channels();
      for (int64_t h = 0; h < a.H; ++h) to[i * a.H + h] = from[h] + a.dt_bias[h];
    }
  }

  // s = cumsum(dt A), u = dt x, exp(s) and exp(s_end - s); dt [q, H].
  void discretise(const T* dt) {
    for (int64_t h = 0; h < a.H; ++h) {
      T total = 0;
      for (int64_t i = 0; i < q; ++i) s[h * width + i] = total += dt[i * a.H + h] * a.A[h];
      each<T>(q, [&](int64_t i, int64_t n) {
        const Vec<T> here = load(s + h * width + i, n);
        store(from_start + h * width + i, exponential_below(here), n);
        store(to_end + h * width + i, exponential_below(total - here), n);
      });
    }
    for (int64_t i = 0; i < q; ++i) {
      for (int64_t h = 0; h < a.H; ++h) {
        const T* x = stream + i * a.channels() + h * a.P;
        each<T>(a.P, [&](int64_t p, int64_t n) {
          store(u + i * a.inner() + h * a.P + p, dt[i * a.H + h] * load(x + p, n), n);
        });
      }
    }
  }

  const T* b(int64_t g) const { return stream + a.inner() + g * a.N; }
  const T* c(int64_t g) const { return b(g) + a.G * a.N; }

  // scores [q, width] = C B^T of a group.
  void score(int64_t g, T* scores) {
    transpose(q, a.N, b(g), a.channels(), b_t, width);
    product(q, q, a.N, c(g), a.channels(), b_t, width, scores, width);
  }

  // decay = L of a head, mixing = L o scores; zeros in the future, where an exponential could overflow.
  void mix(int64_t h, const T* scores) {
    const T* mine = s + h * width;
    for (int64_t i = 0; i < q; ++i) {
      each<T>(width, [&](int64_t j, int64_t n) {
        Vec<T> factor = {};
        if (j <= i) {
          factor = exponential_below(mine[i] - load(mine + j, n));
          if (j + n > i + 1) factor = first_lanes<T>(factor, i + 1 - j);
        }
        store(decay + i * width + j, factor, n);
        if (j < q) store(mixing + i * width + j, factor * load(scores + i * width + j, n), n);
      });
    }
  }
};

// to [q, P of head h] = factor_i x from, by head and token: factors [H, width].
template <class T>
inline void scale_heads(const MambaArguments<T>& a, int64_t q, int64_t g, const T* factors, int64_t width,
                        const T* from, int64_t ld_from, T* to, int64_t ld_to) {
  const int64_t heads = a.H / a.G;
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t h = 0; h < heads; ++h) {
      const T factor = factors[(g * heads + h) * width + i];
      each<T>(a.P, [&](int64_t p, int64_t n) {
        store(to + i * ld_to + h * a.P + p, factor * load(from + i * ld_from + h * a.P + p, n), n);
      });
    }
  }
}
