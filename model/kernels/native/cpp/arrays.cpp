// Matrices turned and blocks of gradients added up.
#include "gemm.h"

// count matrices from [rows, columns] -> to [columns, ld], the columns beyond `rows` zero.
extern "C" void turn(const REAL* from, REAL* to, int64_t count, int64_t rows, int64_t columns, int64_t ld) {
  for (int64_t m = 0; m < count; ++m, from += rows * columns, to += columns * ld) {
    transpose(rows, columns, from, columns, to, ld);
    if (ld == rows) continue;
    for (int64_t c = 0; c < columns; ++c) std::memset(to + c * ld + rows, 0, (ld - rows) * sizeof(REAL));
  }
}

// block 0 += block 1, 2, ... in this order, each of n numbers.
extern "C" void add_up(REAL* blocks, int64_t count, int64_t n) {
  for (int64_t b = 1; b < count; ++b) {
    const REAL* from = blocks + b * n;
    each<REAL>(n, [&](int64_t i, int64_t lanes) { store(blocks + i, load(blocks + i, lanes) + load(from + i, lanes), lanes); });
  }
}
