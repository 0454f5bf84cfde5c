// The Mamba-2 layer forwards; see mamba.h.
#include "mamba.h"

namespace {

// y [q, inner] of one chunk, and the state moved on to its end.
template <class T>
void scan(Chunk<T>& chunk, T* state, T* scores, T* weighted, T* y) {
  const MambaArguments<T>& a = chunk.a;
  const int64_t q = chunk.q, heads = a.H / a.G, R = a.group(), width = chunk.width;
  for (int64_t g = 0; g < a.G; ++g) {
    T *mine = state + g * a.N * R, *yg = y + g * R;
    // the state that came in
    product(q, R, a.N, chunk.c(g), a.channels(), mine, R, yg, a.inner());
    scale_heads(a, q, g, chunk.from_start, width, yg, a.inner(), yg, a.inner());
    // inside the chunk: of row i only columns 0..i
    chunk.score(g, scores);
    for (int64_t h = g * heads; h < (g + 1) * heads; ++h) {
      chunk.mix(h, scores);
      for (int64_t i = 0; i < q; i += 8) {
        const int64_t rows = q - i < 8 ? q - i : 8;
        product_add(rows, a.P, i + rows, chunk.mixing + i * width, width, chunk.u + h * a.P, a.inner(),
                    y + i * a.inner() + h * a.P, a.inner());
      }
    }
    // the state at the end
    for (int64_t n = 0; n < a.N; ++n) {
      for (int64_t h = 0; h < heads; ++h) {
        const T decay = chunk.from_start[(g * heads + h) * width + q - 1];
        each<T>(a.P, [&](int64_t p, int64_t lanes) {
          T* at = mine + n * R + h * a.P + p;
          store(at, decay * load(at, lanes), lanes);
        });
      }
    }
    scale_heads(a, q, g, chunk.to_end, width, chunk.u + g * R, a.inner(), weighted, R);
    outer_add(a.N, R, q, chunk.b(g), a.channels(), weighted, R, mine, R);
  }
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t h = 0; h < a.H; ++h) {
      each<T>(a.P, [&](int64_t p, int64_t n) {
        T* at = y + i * a.inner() + h * a.P + p;
        store(at, load(at, n) + a.skip[h] * load(chunk.stream + i * a.channels() + h * a.P + p, n), n);
      });
    }
  }
}

// gated [q, inner] = norm(y silu(z)) weight, each group on its own.
template <class T>
void gate(const MambaArguments<T>& a, int64_t q, const T* rows, const T* y, T* gated) {
  const int64_t R = a.group();
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t g = 0; g < a.G; ++g) {
      const T *z = rows + i * a.row() + g * R, *yg = y + i * a.inner() + g * R;
      T* to = gated + i * a.inner() + g * R;
      each<T>(R, [&](int64_t r, int64_t n) {
        const Vec<T> zr = load(z + r, n);
        store(to + r, load(yg + r, n) * zr * sigmoid(zr), n);
      });
      const T scale = inverse_rms(to, R, a.eps);
      each<T>(R, [&](int64_t r, int64_t n) {
        store(to + r, load(to + r, n) * scale * load(a.gate_norm + g * R + r, n), n);
      });
    }
  }
}

// The last K-1 inputs of the convolution: those of this chunk, or, where it is shorter, of before.
template <class T>
void keep_inputs(const Chunk<T>& chunk, int64_t start, int64_t sequence) {
  const MambaArguments<T>& a = chunk.a;
  for (int64_t back = 1; back < a.K; ++back) {
    T* to = a.conv_out + (sequence * (a.K - 1) + a.K - 1 - back) * a.channels();
    const T* from = chunk.input(chunk.q, back, start, sequence);
    if (from) {
      std::memcpy(to, from, a.channels() * sizeof(T));
    } else {
      std::memset(to, 0, a.channels() * sizeof(T));
    }
  }
}

template <class T>
void forward(const MambaArguments<T>& a, int64_t first, int64_t last) {
  Scratch scratch;
  Chunk<T> chunk(a, scratch);
  const int64_t halo = a.K - 1;
  T* u = scratch.take<T>(a.Q * a.D);
  T* local = scratch.take<T>((halo + a.Q) * a.row());
  T* dt_here = scratch.take<T>(a.Q * a.H);
  T* y_here = scratch.take<T>(a.Q * a.inner());
  T* gated = scratch.take<T>(a.Q * a.inner());
  T* scores = scratch.take<T>(a.Q * chunk.width);
  T* weighted = scratch.take<T>(a.Q * a.group());
  T* state = scratch.take<T>(a.state());
  for (int64_t b = first; b < last; ++b) {
    const int64_t start = a.bounds[b], end = a.bounds[b + 1];
    T* kept = a.states ? a.states + a.first_state[b] * a.state() : nullptr;
    if (a.ssm_in) {
      std::memcpy(state, a.ssm_in + b * a.state(), a.state() * sizeof(T));
    } else {
      std::memset(state, 0, a.state() * sizeof(T));
    }
    for (int64_t t = start; t < end; t += a.Q) {
      const int64_t q = end - t < a.Q ? end - t : a.Q;
      T* rows = a.projected ? a.projected + t * a.row() : local + halo * a.row();
      T* dt = a.steps ? a.steps + t * a.H : dt_here;
      T* y = a.scanned ? a.scanned + t * a.inner() : y_here;
      chunk.t = t, chunk.q = q, chunk.rows = rows;
      rms_norm_rows<T>(q, a.D, a.x + t * a.D, a.norm, a.eps, u, a.D, nullptr);
      product(q, a.row(), a.D, u, a.D, a.in_proj_t, a.row(), rows, a.row());
      chunk.raw_steps(dt);
      each<T>(q * a.H, [&](int64_t i, int64_t n) { store(dt + i, softplus(load(dt + i, n)), n); });
      chunk.convolve(start, b);
      chunk.discretise(dt);
      if (kept) {
        std::memcpy(kept, state, a.state() * sizeof(T));
        kept += a.state();
      }
      scan(chunk, state, scores, weighted, y);
      gate(a, q, rows, y, gated);
      if (a.out != a.x) std::memcpy(a.out + t * a.D, a.x + t * a.D, q * a.D * sizeof(T));
      product_add(q, a.D, a.inner(), gated, a.inner(), a.out_proj_t, a.D, a.out + t * a.D, a.D);
      if (a.conv_out && t + q == end) keep_inputs(chunk, start, b);
      if (!a.projected && q == a.Q) {  // what the next chunk's convolution looks back to
        for (int64_t i = 0; i < halo; ++i) {
          std::memmove(local + i * a.row(), local + (i + q) * a.row(), a.row() * sizeof(T));
        }
      }
    }
    if (kept) std::memcpy(kept, state, a.state() * sizeof(T));
    if (a.ssm_out) std::memcpy(a.ssm_out + b * a.state(), state, a.state() * sizeof(T));
  }
}

}  // namespace

extern "C" void mamba_forward(const MambaArguments<REAL>* a, int64_t first, int64_t last) {
  forward(*a, first, last);
}
