// Small matrix products: C [M, N] = A [M, K] B [K, N], or C += A B, all of a row's sums over k in one order.
//
// B and C have rows of neighbours; A has any strides, so that A^T costs no copy. Tiles of C stay in registers while k
// runs. The order of the sum of a number does not depend on M or N: a row's result is the same whoever its
// neighbours are.
#pragma once

#include "vectors.h"

template <class T>
struct Left {  // element (m, k) is at[m * row + k * column]
  const T* at;
  int64_t row, column;
};

template <class T, int MR, int NV, bool ADD>
inline __attribute__((always_inline)) void tile(Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t K) {
  constexpr int64_t W = Lanes<T>::count;
  Vec<T> total[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) total[m][v] = ADD ? load(c + m * ldc + v * W) : Vec<T>{};
  }
  for (int64_t k = 0; k < K; ++k) {
    Vec<T> row[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) row[v] = load(b + k * ldb + v * W);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const T x = a.at[m * a.row + k * a.column];
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) total[m][v] += x * row[v];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) store(c + m * ldc + v * W, total[m][v]);
  }
}

// All rows of a panel of NV vectors.
template <class T, int NV, bool ADD>
void panel(int64_t M, Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t K) {
  int64_t m = 0;
  auto rows = [&] { return Left<T>{a.at + m * a.row, a.row, a.column}; };
#if defined(__AVX512F__)
  for (; m + 8 <= M; m += 8) tile<T, 8, NV, ADD>(rows(), b, ldb, c + m * ldc, ldc, K);
#endif
  for (; m + 4 <= M; m += 4) tile<T, 4, NV, ADD>(rows(), b, ldb, c + m * ldc, ldc, K);
  if (m + 2 <= M) {
    tile<T, 2, NV, ADD>(rows(), b, ldb, c + m * ldc, ldc, K);
    m += 2;
  }
  if (m < M) tile<T, 1, NV, ADD>(rows(), b, ldb, c + m * ldc, ldc, K);
}

// The last columns, fewer than a vector: one at a time, in the order of the tiles.
template <class T, bool ADD>
void edge(int64_t M, int64_t N, Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t K) {
  for (int64_t m = 0; m < M; ++m) {
    Vec<T> total = {};
    if (ADD) total = load(c + m * ldc, N);
    for (int64_t k = 0; k < K; ++k) total += a.at[m * a.row + k * a.column] * load(b + k * ldb, N);
    store(c + m * ldc, total, N);
  }
}

template <class T, bool ADD>
void gemm(int64_t M, int64_t N, int64_t K, Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc) {
  constexpr int64_t W = Lanes<T>::count;
  int64_t n = 0;
  if (M == 1) {  // one row has no others to keep the units busy with
    for (; n + 4 * W <= N; n += 4 * W) tile<T, 1, 4, ADD>(a, b + n, ldb, c + n, ldc, K);
  }
  for (; n + 2 * W <= N; n += 2 * W) panel<T, 2, ADD>(M, a, b + n, ldb, c + n, ldc, K);
  for (; n + W <= N; n += W) panel<T, 1, ADD>(M, a, b + n, ldb, c + n, ldc, K);
  if (n < N) edge<T, ADD>(M, N - n, a, b + n, ldb, c + n, ldc, K);
}

// c = A B, A [M, K] with rows of neighbours.
template <class T>
inline void product(int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, T* c,
                    int64_t ldc) {
  gemm<T, false>(M, N, K, Left<T>{a, lda, 1}, b, ldb, c, ldc);
}

// c += A B.
template <class T>
inline void product_add(int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, T* c,
                        int64_t ldc) {
  gemm<T, true>(M, N, K, Left<T>{a, lda, 1}, b, ldb, c, ldc);
}

// c [M, N] += A^T B, a [K, M] with rows of neighbours: gradients of weights, K tokens at a time.
template <class T>
inline void outer_add(int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, T* c,
                      int64_t ldc) {
  gemm<T, true>(M, N, K, Left<T>{a, 1, lda}, b, ldb, c, ldc);
}

template <class T>
inline void transpose_some(int64_t rows, int64_t columns, const T* from, int64_t ld_from, T* to, int64_t ld_to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) to[j * ld_to + i] = from[i * ld_from + j];
  }
}

template <class T>
inline void transpose(int64_t rows, int64_t columns, const T* from, int64_t ld_from, T* to, int64_t ld_to) {
  transpose_some(rows, columns, from, ld_from, to, ld_to);
}

// Four rows of four at a time.
inline void transpose(int64_t rows, int64_t columns, const float* from, int64_t ld_from, float* to, int64_t ld_to) {
  typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
  typedef int32_t Pick __attribute__((vector_size(16)));
  const int64_t whole = rows / 4 * 4, wide = columns / 4 * 4;
  for (int64_t i = 0; i < whole; i += 4) {
    for (int64_t j = 0; j < wide; j += 4) {
      Four row[4];
      for (int r = 0; r < 4; ++r) row[r] = *reinterpret_cast<const Four*>(from + (i + r) * ld_from + j);
      const Four a = __builtin_shuffle(row[0], row[1], Pick{0, 4, 1, 5});
      const Four b = __builtin_shuffle(row[0], row[1], Pick{2, 6, 3, 7});
      const Four c = __builtin_shuffle(row[2], row[3], Pick{0, 4, 1, 5});
      const Four d = __builtin_shuffle(row[2], row[3], Pick{2, 6, 3, 7});
      *reinterpret_cast<Four*>(to + j * ld_to + i) = __builtin_shuffle(a, c, Pick{0, 1, 4, 5});
      *reinterpret_cast<Four*>(to + (j + 1) * ld_to + i) = __builtin_shuffle(a, c, Pick{2, 3, 6, 7});
      *reinterpret_cast<Four*>(to + (j + 2) * ld_to + i) = __builtin_shuffle(b, d, Pick{0, 1, 4, 5});
      *reinterpret_cast<Four*>(to + (j + 3) * ld_to + i) = __builtin_shuffle(b, d, Pick{2, 3, 6, 7});
    }
  }
  transpose_some(whole, columns - wide, from + wide, ld_from, to + wide * ld_to, ld_to);
  transpose_some(rows - whole, columns, from + whole * ld_from, ld_from, to + whole, ld_to);
}
