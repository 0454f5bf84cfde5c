// The attention layer forwards; see attention.h.
#include "attention.h"

namespace {

// scores become exp(score - largest); `sums` [kQueries] is what to divide by, `lse` the logarithm of the sum of
// exponentials, for the first n lanes.
template <class T>
void soften(int64_t first, int64_t n, T* scores, T* sums, T* lse, int64_t ld_lse) {
  T logs[kQueries];
  for (int64_t lane = 0; lane < kQueries; lane += Lanes<T>::count) {
    Vec<T> most = load(scores + lane), total = {};
    each_key<T>(first, n, lane, [&](int64_t j, auto visible) {
      const Vec<T> part = visible(load(scores + j * kQueries + lane), most);
      most = part > most ? part : most;
    });
    each_key<T>(first, n, lane, [&](int64_t j, auto visible) {
      T* at = scores + j * kQueries + lane;
      const Vec<T> value = visible(exponential_below(load(at) - most), Vec<T>{});
      total += value;
      store(at, value);
    });
    store(sums + lane, total);
    store(logs + lane, most + logarithm(total) + (total - total));  // a logarithm loses what is not a number
  }
  for (int64_t i = 0; lse && i < n; ++i) lse[i * ld_lse] = logs[i];
}

template <class T>
void forward(const AttentionArguments<T>& a, int64_t first, int64_t last) {
  Scratch scratch;
  int64_t longest = 0;
  for (int64_t b = first; b < last; ++b) longest = std::max(longest, a.bounds[b + 1] - a.bounds[b]);
  const int64_t inner = a.inner();
  T* u = scratch.take<T>(kTokenRows * a.D);
  T* scores = scratch.take<T>(longest * kQueries);
  T* queries = scratch.take<T>(a.size * kQueries);
  T* sums = scratch.take<T>(kQueries);
  T* local = a.attended ? nullptr : scratch.take<T>(longest * inner);
  for (int64_t b = first; b < last; ++b) {
    const int64_t start = a.bounds[b], length = a.bounds[b + 1] - start;
    T* rows = a.projected + start * a.row();
    T* attended = a.attended ? a.attended + start * inner : local;
    for (int64_t t = 0; t < length; t += kTokenRows) {
      const int64_t n = std::min(kTokenRows, length - t);
      rms_norm_rows<T>(n, a.D, a.x + (start + t) * a.D, a.norm, a.eps, u, a.D, nullptr);
      product(n, a.row(), a.D, u, a.D, a.qkv_t, a.row(), rows + t * a.row(), a.row());
    }
    for (int64_t head = 0; head < a.heads; ++head) {
      for (int64_t i = 0; i < length; i += kQueries) {
        const int64_t n = std::min(kQueries, length - i);
        to_lanes(a, n, rows + i * a.row() + head * a.size, a.row(), queries);
        each<T>(a.size * kQueries, [&](int64_t d, int64_t lanes) {
          store(queries + d, load(queries + d, lanes) * a.scale(), lanes);
        });
        score(a, rows, head, i, n, queries, scores);
        soften(i, n, scores, sums, a.lse ? a.lse + (start + i) * a.heads + head : nullptr, a.heads);
        T* to = attended + i * inner + head * a.size;
        gemm<T, false>(n, a.size, i + n, Left<T>{scores, 1, kQueries}, rows + a.value(head), a.row(), to, inner);
        for (int64_t r = 0; r < n; ++r) {
          const T scale = T(1) / sums[r];
          each<T>(a.size, [&](int64_t d, int64_t lanes) {
            store(to + r * inner + d, load(to + r * inner + d, lanes) * scale, lanes);
          });
        }
      }
    }
    if (a.out != a.x) std::memcpy(a.out + start * a.D, a.x + start * a.D, length * a.D * sizeof(T));
    product_add(length, a.D, inner, attended, inner, a.o_t, a.D, a.out + start * a.D, a.D);
  }
}

}  // namespace

extern "C" void attention_forward(const AttentionArguments<REAL>* a, int64_t first, int64_t last) {
  forward(*a, first, last);
}
