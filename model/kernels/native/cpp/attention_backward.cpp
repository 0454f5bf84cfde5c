// Gradients of the attention layer; see attention.h. With P = exp(S - lse) and d_i = dO_i . O_i:
//     dV = P^T dO,  dS = P o (dO V^T - d),  dQ = dS K,  dK = dS^T Q               (2205.14135, section B.4)
#include "attention.h"

namespace {

template <class T>
struct Backward {
  const AttentionArguments<T>& a;
  T *d_norm, *d_qkv, *d_o, *d_rows, *d_attended, *scores, *d_scores, *queries, *queries_t, *d_t, *attended_t, *lses, *u,
      *inverse, *du;

  Backward(const AttentionArguments<T>& arguments, int64_t longest, int64_t part, Scratch& scratch)
      : a(arguments) {
    const int64_t total = a.D + a.columns() * a.D + a.D * a.inner();
    d_norm = a.grads + part * total;
    std::memset(d_norm, 0, total * sizeof(T));
    d_qkv = d_norm + a.D;
    d_o = d_qkv + a.columns() * a.D;
    d_rows = scratch.take<T>(longest * a.row());
    d_attended = scratch.take<T>(longest * a.inner());
    scores = scratch.take<T>(longest * kQueries);
    d_scores = scratch.take<T>(longest * kQueries);
    queries = scratch.take<T>(kQueries * a.size);
    queries_t = scratch.take<T>(a.size * kQueries);
    d_t = scratch.take<T>(a.size * kQueries);
    attended_t = scratch.take<T>(a.size * kQueries);
    lses = scratch.take<T>(kQueries);
    u = scratch.take<T>(kTokenRows * a.D);
    du = scratch.take<T>(kTokenRows * a.D);
    inverse = scratch.take<T>(kTokenRows);
  }

  void run(int64_t b) {
    const int64_t start = a.bounds[b], length = a.bounds[b + 1] - start, inner = a.inner();
    const T *rows = a.projected + start * a.row(), *g = a.grad_out + start * a.D, *x = a.x + start * a.D;
    const T *attended = a.attended + start * inner, *lse = a.lse + start * a.heads;
    product(length, inner, a.D, g, a.D, a.o, inner, d_attended, inner);
    for (int64_t t = 0; t < length; t += kTokenRows) {
      const int64_t n = std::min(kTokenRows, length - t);
      outer_add(a.D, inner, n, g + t * a.D, a.D, attended + t * inner, inner, d_o, inner);
    }
    std::memset(d_rows, 0, length * a.row() * sizeof(T));
    for (int64_t head = 0; head < a.heads; ++head) {
      for (int64_t i = 0; i < length; i += kQueries) {
        through_scores(head, i, std::min(kQueries, length - i), rows, attended, lse);
      }
    }
    for (int64_t t = 0; t < length; t += kTokenRows) {
      const int64_t n = std::min(kTokenRows, length - t);
      rms_norm_rows(n, a.D, x + t * a.D, a.norm, a.eps, u, a.D, inverse);
      outer_add(a.columns(), a.D, n, d_rows + t * a.row(), a.row(), u, a.D, d_qkv, a.D);
      product(n, a.D, a.columns(), d_rows + t * a.row(), a.row(), a.qkv, a.D, du, a.D);
      rms_norm_rows_backward(n, a.D, x + t * a.D, a.norm, inverse, du, a.D, g + t * a.D,
                             a.grad_x + (start + t) * a.D, d_norm);
    }
  }

  void through_scores(int64_t head, int64_t i, int64_t n, const T* rows, const T* attended, const T* lse) {
    const int64_t inner = a.inner(), seen = i + n;
    const T *g = d_attended + i * inner + head * a.size, *y = attended + i * inner + head * a.size;
    for (int64_t r = 0; r < n; ++r) {
      each<T>(a.size, [&](int64_t d, int64_t lanes) {
        store(queries + r * a.size + d, load(rows + (i + r) * a.row() + head * a.size + d, lanes) * a.scale(), lanes);
      });
    }
    to_lanes(a, n, queries, a.size, queries_t);
    to_lanes(a, n, g, inner, d_t);
    to_lanes(a, n, y, inner, attended_t);
    for (int64_t r = 0; r < kQueries; ++r) lses[r] = r < n ? lse[(i + r) * a.heads + head] : T(0);
    score(a, rows, head, i, n, queries_t, scores);
    product(seen, kQueries, a.size, rows + a.value(head), a.row(), d_t, kQueries, d_scores, kQueries);
    for (int64_t lane = 0; lane < kQueries; lane += Lanes<T>::count) {
      Vec<T> dot = {};
      for (int64_t d = 0; d < a.size; ++d) dot += load(d_t + d * kQueries + lane) * load(attended_t + d * kQueries + lane);
      const Vec<T> normaliser = load(lses + lane);
      each_key<T>(i, n, lane, [&](int64_t j, auto visible) {
        T *at = scores + j * kQueries + lane, *d_at = d_scores + j * kQueries + lane;
        const Vec<T> p = visible(exponential(load(at) - normaliser), Vec<T>{});
        store(at, p);
        store(d_at, visible(p * (load(d_at) - dot), Vec<T>{}));
      });
    }
    product_add(seen, a.size, n, scores, kQueries, g, inner, d_rows + a.value(head), a.row());
    product_add(seen, a.size, n, d_scores, kQueries, queries, a.size, d_rows + a.key(head), a.row());
    T* dq = d_rows + i * a.row() + head * a.size;
    gemm<T, false>(n, a.size, seen, Left<T>{d_scores, 1, kQueries}, rows + a.key(head), a.row(), dq, a.row());
    for (int64_t r = 0; r < n; ++r) {
      each<T>(a.size, [&](int64_t d, int64_t lanes) {
        store(dq + r * a.row() + d, load(dq + r * a.row() + d, lanes) * a.scale(), lanes);
      });
    }
  }
};

template <class T>
void backward(const AttentionArguments<T>& a, int64_t first, int64_t last, int64_t part) {
  Scratch scratch;
  int64_t longest = 0;
  for (int64_t b = first; b < last; ++b) longest = std::max(longest, a.bounds[b + 1] - a.bounds[b]);
  Backward<T> work(a, longest, part, scratch);
  for (int64_t b = first; b < last; ++b) work.run(b);
}

}  // namespace

extern "C" void attention_backward(const AttentionArguments<REAL>* a, int64_t first, int64_t last, int64_t part) {
  backward(*a, first, last, part);
}
