// Root-mean-square norm of rows: n = x / sqrt(mean(x^2) + eps), y = n w; and its gradient.
#pragma once

#include "vectors.h"

template <class T>
inline T inverse_rms(const T* x, int64_t size, double eps) {
  Vec<T> squares = {};
  each<T>(size, [&](int64_t i, int64_t n) {
    const Vec<T> part = load(x + i, n);
    squares += part * part;
  });
  return T(1) / std::sqrt(sum<T>(squares) / T(size) + T(eps));
}

// rows of x [rows, size] -> y (its own rows `ldy` apart) and each row's 1 / rms where `inverse` is given.
template <class T>
void rms_norm_rows(int64_t rows, int64_t size, const T* x, const T* weight, double eps, T* y, int64_t ldy,
                   T* inverse) {
  for (int64_t r = 0; r < rows; ++r) {
    const T scale = inverse_rms(x + r * size, size, eps);
    if (inverse) inverse[r] = scale;
    each<T>(size, [&](int64_t i, int64_t n) {
      store(y + r * ldy + i, load(x + r * size + i, n) * scale * load(weight + i, n), n);
    });
  }
}

// dx = pass + (g - n mean(g n)) / rms with g = dy w, and dweight += sum of dy n. `pass` may be null or dx itself.
template <class T>
void rms_norm_rows_backward(int64_t rows, int64_t size, const T* x, const T* weight, const T* inverse, const T* dy,
                            int64_t lddy, const T* pass, T* dx, T* dweight) {
  for (int64_t r = 0; r < rows; ++r) {
    const T *xr = x + r * size, *gr = dy + r * lddy;
    const T scale = inverse[r];
    Vec<T> along = {};
    each<T>(size, [&](int64_t i, int64_t n) {
      const Vec<T> normal = load(xr + i, n) * scale, grad = load(gr + i, n);
      store(dweight + i, load(dweight + i, n) + grad * normal, n);
      along += grad * load(weight + i, n) * normal;
    });
    const T mean = sum<T>(along) / T(size);
    each<T>(size, [&](int64_t i, int64_t n) {
      const Vec<T> normal = load(xr + i, n) * scale;
      Vec<T> result = (load(gr + i, n) * load(weight + i, n) - normal * mean) * scale;
      if (pass) result += load(pass + r * size + i, n);
      store(dx + r * size + i, result, n);
    });
  }
}
