// Several layers one after another for a run of sequences: what one layer wrote, the next one reads from the cache.
//
// Forwards a layer reads x and writes out, which may be the same; backwards the gradient of the stream is changed in
// place. Gradients of weights lie one layer after another in a part's block of `numbers`.
#include "attention.h"
#include "mamba.h"
#include "moe.h"

extern "C" {
void mamba_forward(const MambaArguments<REAL>*, int64_t first, int64_t last);
void mamba_backward(const MambaArguments<REAL>*, int64_t first, int64_t last, int64_t part);
void attention_forward(const AttentionArguments<REAL>*, int64_t first, int64_t last);
void attention_backward(const AttentionArguments<REAL>*, int64_t first, int64_t last, int64_t part);
void moe_forward(const MoEArguments<REAL>*, int64_t first, int64_t last);
void moe_backward(const MoEArguments<REAL>*, int64_t first, int64_t last, int64_t part);
}

template <class T>
struct StackArguments {
  int64_t num_layers, numbers;
  const int64_t* kinds;       // of each layer: 0 Mamba, 1 attention, 2 experts
  const void* const* layers;  // its arguments
  const int64_t* bounds;      // [B+1]
  const int64_t* places;      // of each layer's gradients in a block
  T *grad, *grads;            // [T, D]: the stream's; one block for each part
};

namespace {

// The layer's arguments with the gradients of a part in their place.
template <class A>
A of_part(const StackArguments<REAL>& s, int64_t layer, int64_t part) {
  A a = *static_cast<const A*>(s.layers[layer]);
  a.grad_out = a.grad_x = s.grad;
  a.grads = s.grads + part * s.numbers + s.places[layer];
  return a;
}

}  // namespace

extern "C" void stack_forward(const StackArguments<REAL>* s, int64_t first, int64_t last) {
  for (int64_t l = 0; l < s->num_layers; ++l) {
    const void* a = s->layers[l];
    if (s->kinds[l] == 0) {
      mamba_forward(static_cast<const MambaArguments<REAL>*>(a), first, last);
    } else if (s->kinds[l] == 1) {
      attention_forward(static_cast<const AttentionArguments<REAL>*>(a), first, last);
    } else {
      moe_forward(static_cast<const MoEArguments<REAL>*>(a), s->bounds[first], s->bounds[last]);
    }
  }
}

extern "C" void stack_backward(const StackArguments<REAL>* s, int64_t first, int64_t last, int64_t part) {
  for (int64_t l = s->num_layers - 1; l >= 0; --l) {
    if (s->kinds[l] == 0) {
      const auto a = of_part<MambaArguments<REAL>>(*s, l, part);
      mamba_backward(&a, first, last, 0);
    } else if (s->kinds[l] == 1) {
      const auto a = of_part<AttentionArguments<REAL>>(*s, l, part);
      attention_backward(&a, first, last, 0);
    } else {
      const auto a = of_part<MoEArguments<REAL>>(*s, l, part);
      moe_backward(&a, s->bounds[first], s->bounds[last], 0);
    }
  }
}
