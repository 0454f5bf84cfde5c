// The mixture-of-experts layer forwards; see moe.h.
#include "moe_forward.h"

extern "C" void moe_forward(const MoEArguments<REAL>* a, int64_t first, int64_t last) {
  Scratch scratch;
  MoEForward<REAL> work(*a, scratch);
  for (int64_t block = first; block < last; ++block) {
    const int64_t begin = block * a->block, rest = a->tokens - begin;
    work.run(begin, rest < a->block ? rest : a->block);
  }
}
