// Vectors of the widest registers the compiler was told of, and elementwise functions over them.
//
// Everything is written in the compiler's vector extension, so the same source serves AVX-512, AVX2, SSE and NEON.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct Lanes {
  static constexpr int64_t count = kVectorBytes / sizeof(T);
  typedef T Aligned __attribute__((vector_size(kVectorBytes)));
  typedef T Anywhere __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
};

template <class T>
using Vec = typename Lanes<T>::Aligned;

template <class T>
inline Vec<T> load(const T* from) {
  return *reinterpret_cast<const typename Lanes<T>::Anywhere*>(from);
}

template <class T>
inline void store(T* to, Vec<T> value) {
  *reinterpret_cast<typename Lanes<T>::Anywhere*>(to) = value;
}

// The first n lanes; what lies beyond is neither read nor written.
template <class T>
inline Vec<T> load(const T* from, int64_t n) {
  if (n >= Lanes<T>::count) return load(from);
  Vec<T> value = {};
  std::memcpy(&value, from, n * sizeof(T));
  return value;
}

template <class T>
inline void store(T* to, Vec<T> value, int64_t n) {
  if (n >= Lanes<T>::count) {
    store(to, value);
  } else {
    std::memcpy(to, &value, n * sizeof(T));
  }
}

template <class T>
inline T sum(Vec<T> value) {
  T total = 0;
  for (int64_t lane = 0; lane < Lanes<T>::count; ++lane) total += value[lane];
  return total;
}

// exp to two units in the last place: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes). Exactly 0 below -87.3.
inline Vec<float> exponential(Vec<float> x) {
  typedef int32_t Whole __attribute__((vector_size(kVectorBytes)));
  const Vec<float> high = Vec<float>{} + 88.72283f, low = Vec<float>{} - 87.33654f;
  const auto vanishes = x < low;
  const auto overflows = x > high;
  Vec<float> bounded = vanishes ? low : (overflows ? high : x);
  const Vec<float> shifted = bounded * 1.44269504088896341f + 12582912.0f;  // 1.5 * 2^23 rounds to whole numbers
  const Vec<float> n = shifted - 12582912.0f;
  bounded = bounded - n * 0.693359375f;
  bounded = bounded + n * 2.12194440e-4f;
  Vec<float> y = bounded * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * bounded + 8.3334519073e-3f;
  y = y * bounded + 4.1665795894e-2f;
  y = y * bounded + 1.6666665459e-1f;
  y = y * bounded + 5.0000001201e-1f;
  y = y * (bounded * bounded) + bounded + 1.0f;
  // Twice half of n, for 2^128 has no exponent of its own.
  const Whole whole = __builtin_convertvector(n, Whole);
  const Whole half = whole >> 1;
  y = y * (Vec<float>)((half + 127) << 23) * (Vec<float>)((whole - half + 127) << 23);
  return vanishes ? Vec<float>{} : (overflows ? Vec<float>{} + INFINITY : y);
}

inline Vec<double> exponential(Vec<double> x) {
  for (int64_t lane = 0; lane < Lanes<double>::count; ++lane) x[lane] = std::exp(x[lane]);
  return x;
}

template <class V>
inline V sigmoid(V x) {
  const V one = V{} + decltype(+x[0])(1);
  return one / (one + exponential(-x));
}

template <class V>
inline V positive(V x) {
  return x < V{} ? V{} : x;  // as torch's relu: what is not a number stays so
}

// log(1 + e^x) as torch has it: x itself above 20.
template <class T>
inline T softplus(T x) {
  return x > T(20) ? x : std::log1p(std::exp(x));
}

// f(offset, lanes) for every vector of n numbers.
template <class T, class F>
inline void each(int64_t n, F f) {
  constexpr int64_t W = Lanes<T>::count;
  int64_t at = 0;
  for (; at + W <= n; at += W) f(at, W);
  if (at < n) f(at, n - at);
}
