// The root-mean-square norm by itself, both directions; see norms.h.
#include "norms.h"
#include "scratch.h"

template <class T>
struct NormArguments {
  int64_t tokens, D;
  double eps;
  const T *x, *weight;
  T *y, *inverse;  // [T, D], [T] or null
  const T* grad;
  T *grad_x, *grads;
};

extern "C" void norm_forward(const NormArguments<REAL>* a, int64_t first, int64_t last) {
  rms_norm_rows<REAL>(last - first, a->D, a->x + first * a->D, a->weight, a->eps, a->y + first * a->D, a->D,
                      a->inverse ? a->inverse + first : nullptr);
}

extern "C" void norm_backward(const NormArguments<REAL>* a, int64_t first, int64_t last, int64_t part) {
  std::memset(a->grads + part * a->D, 0, a->D * sizeof(REAL));
  rms_norm_rows_backward<REAL>(last - first, a->D, a->x + first * a->D, a->weight, a->inverse + first,
                               a->grad + first * a->D, a->D, nullptr, a->grad_x + first * a->D,
                               a->grads + part * a->D);
}
