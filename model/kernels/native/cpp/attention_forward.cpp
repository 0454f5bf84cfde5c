// The attention layer forwards; see attention.h.
#include "attention.h"

namespace {

// scores [n, width] become exp(score - largest); returns through `sums` what to divide by, through `lse` its logarithm.
template <class T>
void soften(int64_t first, int64_t n, int64_t width, T* scores, T* sums, T* lse, int64_t ld_lse) {
  for (int64_t i = 0; i < n; ++i) {
    T* row = scores + i * width;
    const int64_t seen = first + i + 1;
    Vec<T> most = Vec<T>{} + row[0], total = {};
    each<T>(seen, [&](int64_t j, int64_t lanes) {
      const Vec<T> part = first_lanes<T>(load(row + j, lanes), lanes, most);
      most = part > most ? part : most;
    });
    const T highest = largest<T>(most);
    each<T>(first + n, [&](int64_t j, int64_t lanes) {
      Vec<T> value = {};
      if (j < seen) {
        value = first_lanes<T>(exponential(load(row + j, lanes) - highest), seen - j);
      }
      total += value;
      store(row + j, value, lanes);
    });
    sums[i] = sum<T>(total);
    if (lse) lse[i * ld_lse] = highest + std::log(sums[i]);
  }
}

template <class T>
void forward(const AttentionArguments<T>& a, int64_t first, int64_t last) {
  Scratch scratch;
  int64_t longest = 0;
  for (int64_t b = first; b < last; ++b) longest = std::max(longest, a.bounds[b + 1] - a.bounds[b]);
  const int64_t width = padded<T>(longest), inner = a.inner();
  T* u = scratch.take<T>(kTokenRows * a.D);
  T* keys_t = scratch.take<T>(a.size * width);
  T* scores = scratch.take<T>(kQueryRows * width);
  T* queries = scratch.take<T>(kQueryRows * a.size);
  T* sums = scratch.take<T>(kQueryRows);
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
      if (head % (a.heads / a.kv_heads) == 0) transpose(length, a.size, rows + a.key(head), a.row(), keys_t, width);
      for (int64_t i = 0; i < length; i += kQueryRows) {
        const int64_t n = std::min(kQueryRows, length - i), seen = i + n;
        scaled_queries(a, rows, head, i, n, queries);
        product(n, seen, a.size, queries, a.size, keys_t, width, scores, width);
        soften(i, n, width, scores, sums, a.lse ? a.lse + (start + i) * a.heads + head : nullptr, a.heads);
        T* to = attended + i * inner + head * a.size;
        product(n, a.size, seen, scores, width, rows + a.value(head), a.row(), to, inner);
        for (int64_t r = 0; r < n; ++r) {
          each<T>(a.size, [&](int64_t d, int64_t lanes) {
            store(to + r * inner + d, load(to + r * inner + d, lanes) / sums[r], lanes);
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
