// Gradients of the mixture-of-experts layer; see moe.h and kernels/experts.py. With r = relu(up u), g the gradient of the
// output and g' = g down^T:  dw = <r^2, g'>,  dz = 2 r g' w,  du += dz up,  dup += dz^T u,  ddown += (w r^2)^T g.
#include "moe.h"

namespace {

template <class T>
struct Gradients {
  T *norm, *gate, *up, *down, *shared_up, *shared_down;

  Gradients(const MoEArguments<T>& a, int64_t part) {
    const int64_t sizes[] = {a.D, a.E * a.D, a.E * a.I * a.D, a.E * a.I * a.D, a.S * a.D, a.S * a.D};
    T** places[] = {&norm, &gate, &up, &down, &shared_up, &shared_down};
    int64_t total = 0;
    for (int64_t size : sizes) total += size;
    T* at = a.grads + part * total;
    std::memset(at, 0, total * sizeof(T));
    for (int i = 0; i < 6; ++i) {
      *places[i] = at;
      at += sizes[i];
    }
  }
};

template <class T>
struct Backward {
  const MoEArguments<T>& a;
  Gradients<T> grads;
  Pairs<T> pairs;
  T *u, *inverse, *du, *weights, *d_weights, *d_logits, *rows_u, *rows_g, *d_rows, *squares, *dz;

  Backward(const MoEArguments<T>& arguments, int64_t part, Scratch& scratch)
      : a(arguments), grads(arguments, part), pairs(arguments, scratch) {
    const int64_t units = a.units() > a.shared_units() ? a.units() : a.shared_units();
    u = scratch.take<T>(a.block * a.D);
    inverse = scratch.take<T>(a.block);
    du = scratch.take<T>(a.block * a.D);
    weights = scratch.take<T>(a.block * a.k);
    d_weights = scratch.take<T>(a.block * a.k);
    d_logits = scratch.take<T>(a.block * a.E);
    rows_u = scratch.take<T>(a.block * a.D);
    rows_g = scratch.take<T>(a.block * a.D);
    d_rows = scratch.take<T>(a.block * a.D);
    squares = scratch.take<T>(a.block * units);
    dz = scratch.take<T>(a.block * units);
  }

  void run(int64_t first, int64_t n) {
    const T *x = a.x + first * a.D, *g = a.grad_out + first * a.D, *chosen = a.chosen + first * a.k;
    const int64_t* experts = a.experts + first * a.k;
    rms_norm_rows<T>(n, a.D, x, a.norm, a.eps, u, a.D, inverse);
    through_shared(n, g, a.shared_hidden + first * a.shared_units());
    for (int64_t t = 0; t < n; ++t) {
      const T total = normaliser(a, chosen + t * a.k);
      for (int64_t j = 0; j < a.k; ++j) weights[t * a.k + j] = chosen[t * a.k + j] / total * T(a.scale);
    }
    pairs.sort(a, n, experts, weights);
    const T* r = a.hidden + first * a.k * a.units();
    for (int64_t e = 0; e < a.E; ++e) {
      for (int64_t from = pairs.ends[e]; from < pairs.ends[e + 1]; from += a.block) {
        const int64_t rest = pairs.ends[e + 1] - from;
        through_expert(e, from, rest < a.block ? rest : a.block, r + from * a.units(), g);
      }
    }
    through_router(n, experts, chosen);
    rms_norm_rows_backward(n, a.D, x, a.norm, inverse, du, a.D, g, a.grad_x + first * a.D, grads.norm);
  }

  // du = the shared expert's.
  void through_shared(int64_t n, const T* g, const T* r) {
    const int64_t ld = a.shared_units();
    product(n, a.S, a.D, g, a.D, a.shared_down, a.S, dz, ld);
    for (int64_t i = 0; i < n * ld; i += Lanes<T>::count) {
      const Vec<T> value = load(r + i);
      store(squares + i, value * value);
      store(dz + i, load(dz + i) * value * T(2));
    }
    outer_add(a.D, a.S, n, g, a.D, squares, ld, grads.shared_down, a.S);
    outer_add(a.S, a.D, n, dz, ld, u, a.D, grads.shared_up, a.D);
    product(n, a.D, a.S, dz, ld, a.shared_up, a.D, du, a.D);
  }

  void through_expert(int64_t e, int64_t from, int64_t rows, const T* r, const T* g) {
    const int64_t ld = a.units();
    copy_rows(rows, a.D, u, pairs.token + from, rows_u);
    copy_rows(rows, a.D, g, pairs.token + from, rows_g);
    product(rows, ld, a.D, rows_g, a.D, a.down_t + e * a.D * ld, ld, dz, ld);
    for (int64_t i = 0; i < rows; ++i) {
      const T weight = pairs.weight[from + i];
      Vec<T> along = {};
      for (int64_t c = i * ld; c < (i + 1) * ld; c += Lanes<T>::count) {
        const Vec<T> value = load(r + c), grad = load(dz + c);
        along += grad * value * value;
        store(squares + c, value * value * weight);
        store(dz + c, grad * value * (T(2) * weight));
      }
      d_weights[pairs.token[from + i] * a.k + pairs.place[from + i]] = sum<T>(along);
    }
    outer_add(a.I, a.D, rows, squares, ld, rows_g, a.D, grads.down + e * a.I * a.D, a.D);
    outer_add(a.I, a.D, rows, dz, ld, rows_u, a.D, grads.up + e * a.I * a.D, a.D);
    product(rows, a.D, a.I, dz, ld, a.up + e * a.I * a.D, a.D, d_rows, a.D);
    add_rows(rows, a.D, d_rows, du, pairs.token + from);
  }

  // Through the weights of the chosen to the logits, and on to u and the gate.
  void through_router(int64_t n, const int64_t* experts, const T* chosen) {
    std::memset(d_logits, 0, n * a.E * sizeof(T));
    for (int64_t t = 0; t < n; ++t) {
      const T *s = chosen + t * a.k, *dw = d_weights + t * a.k;
      const T total = normaliser(a, s);
      T along = 0;
      for (int64_t j = 0; j < a.k; ++j) along += dw[j] * s[j];
      for (int64_t j = 0; j < a.k; ++j) {
        const T grad = a.normalise ? (dw[j] - along / total) / total : dw[j];
        // a recorded row may name an expert twice: add
        d_logits[t * a.E + experts[t * a.k + j]] += grad * s[j] * (T(1) - s[j]) * T(a.scale);
      }
    }
    product_add(n, a.D, a.E, d_logits, a.E, a.gate, a.D, du, a.D);
    outer_add(a.E, a.D, n, d_logits, a.E, u, a.D, grads.gate, a.D);
  }
};

}  // namespace

// Tokens first..last, which must be those of one forward call.
extern "C" void moe_backward(const MoEArguments<REAL>* a, int64_t first, int64_t last, int64_t part) {
  Scratch scratch;
  Backward<REAL> work(*a, part, scratch);
  for (int64_t t = first; t < last; t += a->block) work.run(t, last - t < a->block ? last - t : a->block);
}
