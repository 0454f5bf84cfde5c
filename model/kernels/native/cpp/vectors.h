// Vectors of the widest registers the compiler was told of, and elementwise functions over them.
//
// Everything is written in the compiler's vector extension, so the same source serves AVX-512, AVX2, SSE and NEON.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

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

// Halves are added to halves.
template <class T, int64_t BYTES = kVectorBytes>
inline T sum(const T* at) {
  if constexpr (BYTES == sizeof(T)) {
    return *at;
  } else {
    typedef T Half __attribute__((vector_size(BYTES / 2), aligned(sizeof(T)), may_alias));
    Half low, high;
    std::memcpy(&low, at, BYTES / 2);
    std::memcpy(&high, at + BYTES / 2 / sizeof(T), BYTES / 2);
    low += high;
    return sum<T, BYTES / 2>(reinterpret_cast<const T*>(&low));
  }
}

template <class T>
inline T sum(Vec<T> value) {
  return sum<T, kVectorBytes>(reinterpret_cast<const T*>(&value));
}

template <class T, int64_t BYTES = kVectorBytes>
inline T largest(const T* at) {
  if constexpr (BYTES == sizeof(T)) {
    return *at;
  } else {
    typedef T Half __attribute__((vector_size(BYTES / 2), aligned(sizeof(T)), may_alias));
    Half low, high;
    std::memcpy(&low, at, BYTES / 2);
    std::memcpy(&high, at + BYTES / 2 / sizeof(T), BYTES / 2);
    low = high > low ? high : low;
    return largest<T, BYTES / 2>(reinterpret_cast<const T*>(&low));
  }
}

template <class T>
inline T largest(Vec<T> value) {
  return largest<T, kVectorBytes>(reinterpret_cast<const T*>(&value));
}

// The first n lanes of value, `rest` in the others.
template <class T>
inline Vec<T> first_lanes(Vec<T> value, int64_t n, Vec<T> rest = Vec<T>{}) {
  using Whole = decltype(value < value);
  using Number = std::remove_reference_t<decltype(Whole{}[0])>;
  Whole lane;
  for (int64_t i = 0; i < Lanes<T>::count; ++i) lane[i] = static_cast<Number>(i);
  return lane < static_cast<Number>(n) ? value : rest;
}

// exp on [-ln 2 / 2, ln 2 / 2] (Cephes).
inline Vec<float> polynomial(Vec<float> x) {
  Vec<float> y = x * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * x + 8.3334519073e-3f;
  y = y * x + 4.1665795894e-2f;
  y = y * x + 1.6666665459e-1f;
  y = y * x + 5.0000001201e-1f;
  return y * (x * x) + x + 1.0f;
}

// exp to two units in the last place: 2^n times that polynomial. Exactly 0 below -87.3.
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
  Vec<float> y = polynomial(bounded);
  // Twice half of n, for 2^128 has no exponent of its own.
  const Whole whole = __builtin_convertvector(n, Whole);
  const Whole half = whole >> 1;
  y = y * (Vec<float>)((half + 127) << 23) * (Vec<float>)((whole - half + 127) << 23);
  return vanishes ? Vec<float>{} : (overflows ? Vec<float>{} + INFINITY : y);
}

// The same for numbers that are not positive.
inline Vec<float> exponential_below(Vec<float> x) {
  typedef int32_t Whole __attribute__((vector_size(kVectorBytes)));
  const Vec<float> low = Vec<float>{} - 87.33654f;
  const auto vanishes = x < low;
  const Vec<float> bounded = vanishes ? low : x;
  const Vec<float> shifted = bounded * 1.44269504088896341f + 12582912.0f, n = shifted - 12582912.0f;
  const Vec<float> y = polynomial((bounded - n * 0.693359375f) + n * 2.12194440e-4f);
  // what was added to round n stands in the low bits of the sum
  const Vec<float> power = (Vec<float>)(((Whole)shifted << 23) + 0x3f800000);
  return vanishes ? Vec<float>{} : y * power;
}

inline Vec<double> exponential(Vec<double> x) {
  for (int64_t lane = 0; lane < Lanes<double>::count; ++lane) x[lane] = std::exp(x[lane]);
  return x;
}

inline Vec<double> exponential_below(Vec<double> x) { return exponential(x); }

// 1 / (1 + e^-x); within 1e-34 of it where e^-x would overflow.
inline Vec<float> sigmoid(Vec<float> x) {
  typedef int32_t Whole __attribute__((vector_size(kVectorBytes)));
  const Vec<float> bound = Vec<float>{} + 80.0f;
  Vec<float> y = x > bound ? -bound : (x < -bound ? bound : -x);
  const Vec<float> shifted = y * 1.44269504088896341f + 12582912.0f, n = shifted - 12582912.0f;
  y = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  // what was added to round n stands in the low bits of the sum
  const Vec<float> power = (Vec<float>)(((Whole)shifted << 23) + 0x3f800000);
  return 1.0f / (1.0f + polynomial(y) * power);
}

inline Vec<double> sigmoid(Vec<double> x) { return 1.0 / (1.0 + exponential(-x)); }

template <class V>
inline V positive(V x) {
  return x < V{} ? V{} : x;  // as torch's relu: what is not a number stays so
}

// The natural logarithm of positive normal numbers, to two units in the last place (Cephes).
inline Vec<float> logarithm(Vec<float> x) {
  typedef int32_t Whole __attribute__((vector_size(kVectorBytes)));
  const Whole bits = (Whole)x;
  Whole exponent = (bits >> 23) - 126;
  Vec<float> m = (Vec<float>)((bits & 0x007fffff) | 0x3f000000);  // in [1/2, 1)
  const auto small = m < 0.707106781f;
  exponent += (Whole)small;  // a true lane is -1
  m = (small ? m + m : m) - 1.0f;
  const Vec<float> n = __builtin_convertvector(exponent, Vec<float>), square = m * m;
  Vec<float> y = m * 7.0376836292e-2f - 1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m - 1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m - 1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m - 2.4999993993e-1f;
  y = y * m + 3.3333331174e-1f;
  y = y * m * square + n * -2.12194440e-4f - square * 0.5f;
  return m + y + n * 0.693359375f;
}

inline Vec<double> logarithm(Vec<double> x) {
  for (int64_t lane = 0; lane < Lanes<double>::count; ++lane) x[lane] = std::log(x[lane]);
  return x;
}

// log(1 + e^x) as torch has it: x itself above 20. What rounding 1 + e takes from e, the quotient gives back.
inline Vec<float> softplus(Vec<float> x) {
  const Vec<float> one = Vec<float>{} + 1.0f, e = exponential(x), u = one + e, rounded = u - one;
  const Vec<float> y = rounded == 0.0f ? e : logarithm(u) * (e / rounded);
  return x > 20.0f ? x : y;
}

inline Vec<double> softplus(Vec<double> x) {
  for (int64_t lane = 0; lane < Lanes<double>::count; ++lane) {
    if (!(x[lane] > 20.0)) x[lane] = std::log1p(std::exp(x[lane]));
  }
  return x;
}

// f(offset, lanes) for every vector of n numbers.
template <class T, class F>
inline void each(int64_t n, F f) {
  constexpr int64_t W = Lanes<T>::count;
  int64_t at = 0;
  for (; at + W <= n; at += W) f(at, W);
  if (at < n) f(at, n - at);
}
