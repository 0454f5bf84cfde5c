// One token drawn from every row of logits: the inverse of the cumulative distribution at a uniform number, or the
// likeliest token; and its log-probability. Sums are taken block by block in an order of their own for every row, so a
// row's token depends on nothing but the row.
#include <algorithm>

#include "scratch.h"

template <class T>
struct DrawArguments {
  int64_t rows, V;
  const T *logits, *temperature;  // [rows, V], [rows] (0: the likeliest)
  const double* uniform;          // [rows] in [0, 1)
  int64_t* tokens;                // [rows]
  T* logprobs;                    // [rows]; not a number where the logits are not finite
};

namespace {

constexpr int64_t kBlock = 256;

template <class T>
struct Draw {
  const DrawArguments<T>& a;
  Scratch scratch;
  T* parts;        // [V] exp(z - highest)
  double* totals;  // of each block of them

  explicit Draw(const DrawArguments<T>& arguments) : a(arguments) {
    parts = scratch.take<T>(a.V);
    totals = scratch.take<double>((a.V + kBlock - 1) / kBlock);
  }

  void run(int64_t r) {
    const T* row = a.logits + r * a.V;
    const T temperature = a.temperature[r] == T(0) ? T(1) : a.temperature[r];
    const T highest = most(row) / temperature;
    const double total = weigh(row, temperature, highest);
    // a sum that is not a number fails every comparison
    const bool sound = total > 0 && total < INFINITY;
    const int64_t token = !sound ? 0 : a.temperature[r] == T(0) ? likeliest(row) : inverse(a.uniform[r] * total);
    a.tokens[r] = token;
    a.logprobs[r] = sound ? static_cast<T>(row[token] / temperature - highest - std::log(total)) : T(NAN);
  }

  T most(const T* row) const {
    Vec<T> most = Vec<T>{} + row[0];
    each<T>(a.V, [&](int64_t v, int64_t n) {
      const Vec<T> part = first_lanes<T>(load(row + v, n), n, most);
      most = part > most ? part : most;
    });
    return largest<T>(most);
  }

  double weigh(const T* row, T temperature, T highest) {
    double total = 0;
    for (int64_t first = 0; first < a.V; first += kBlock) {
      const int64_t count = std::min(kBlock, a.V - first);
      Vec<T> block = {};
      each<T>(count, [&](int64_t v, int64_t n) {
        const Vec<T> z = load(row + first + v, n), scaled = temperature == T(1) ? z : z / temperature;
        const Vec<T> part = first_lanes<T>(exponential(scaled - highest), n);
        store(parts + first + v, part, n);
        block += part;
      });
      total += totals[first / kBlock] = sum<T>(block);
    }
    return total;
  }

  int64_t likeliest(const T* row) const {
    const T highest = most(row);
    return std::find(row, row + a.V, highest) - row;
  }

  // The first token whose cumulated weight exceeds `target`; where rounding left none, the last that has any weight.
  int64_t inverse(double target) const {
    int64_t block = 0, last = 0;
    double before = 0, next = 0;
    for (int64_t b = 0; b * kBlock < a.V && !(target < next); ++b) {
      if (totals[b] > 0) block = b, before = next, next += totals[b];
    }
    for (int64_t v = block * kBlock; v < std::min((block + 1) * kBlock, a.V); ++v) {
      if (!(parts[v] > T(0))) continue;
      before += parts[v], last = v;
      if (target < before) break;
    }
    return last;
  }
};

}  // namespace

extern "C" void draw(const DrawArguments<REAL>* a) {
  Draw<REAL> work(*a);
  for (int64_t r = 0; r < a->rows; ++r) work.run(r);
}
