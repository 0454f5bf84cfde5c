// The mixture-of-experts layer forwards; see moe.h.
#include "moe_forward.h"

// Tokens first..last, in blocks from the first on.
extern "C" void moe_forward(const MoEArguments<REAL>* a, int64_t first, int64_t last) {
  Scratch scratch;
  MoEForward<REAL> work(*a, scratch);
  for (int64_t t = first; t < last; t += a->block) work.run(t, last - t < a->block ? last - t : a->block);
}
