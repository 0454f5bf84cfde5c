// Gradients of the Mamba-2 layer, chunks in reverse; see mamba.h. What a chunk held between the kept rows of in_proj and
// its output is computed again, in cache.
#include "mamba.h"

namespace {

// Gradients of all weights, one block per part.
template <class T>
struct Gradients {
  T *norm, *in_proj, *taps, *conv_bias, *dt_bias, *A, *skip, *gate_norm, *out_proj;

  Gradients(const MambaArguments<T>& a, int64_t part) {
    const int64_t sizes[] = {a.D, a.columns() * a.D, a.K * a.channels(), a.channels(), a.H, a.H, a.H, a.inner(),
                             a.D * a.inner()};
    T** places[] = {&norm, &in_proj, &taps, &conv_bias, &dt_bias, &A, &skip, &gate_norm, &out_proj};
    int64_t total = 0;
    for (int64_t size : sizes) total += size;
    T* at = a.grads + part * total;
    std::memset(at, 0, total * sizeof(T));
    for (int i = 0; i < 9; ++i) {
      *places[i] = at;
      at += sizes[i];
    }
  }
};

template <class T>
struct Backward {
  const MambaArguments<T>& a;
  Gradients<T> grads;
  Chunk<T> chunk;
  T *u, *inverse, *gated, *d_gated, *dy, *d_rows, *d_stream, *d_u, *d_state, *after_dot, *scores, *d_scores,
      *d_mixing, *weighted, *dy_weighted, *state_t, *d_state_t, *u_t, *d_pre, *opened, *slopes;

  Backward(const MambaArguments<T>& arguments, int64_t part, Scratch& scratch)
      : a(arguments), grads(arguments, part), chunk(arguments, scratch) {
    const int64_t Q = a.Q, R = a.group();
    u = scratch.take<T>(Q * a.D);
    inverse = scratch.take<T>(Q);
    gated = scratch.take<T>(Q * a.inner());
    d_gated = scratch.take<T>(Q * a.inner());
    dy = scratch.take<T>(Q * a.inner());
    d_rows = scratch.take<T>(Q * a.row());
    d_stream = scratch.take<T>(Q * a.channels());
    d_pre = scratch.take<T>((Q + a.K - 1) * a.channels());
    d_u = scratch.take<T>(Q * a.inner());
    d_state = scratch.take<T>(a.state());
    scores = scratch.take<T>(Q * chunk.width);
    d_scores = scratch.take<T>(Q * chunk.width);
    d_mixing = scratch.take<T>(Q * chunk.width);
    weighted = scratch.take<T>(Q * R);
    dy_weighted = scratch.take<T>(Q * R);
    state_t = scratch.take<T>(R * padded<T>(a.N));
    d_state_t = scratch.take<T>(R * padded<T>(a.N));
    u_t = scratch.take<T>(a.P * chunk.width);
    after_dot = scratch.take<T>(a.H);
    opened = scratch.take<T>(R);
    slopes = scratch.take<T>(Q * a.H);
  }

  // Through out_proj and the gated norm: dy, and dz into d_rows.
  void ungate(const T* grad_out, const T* y) {
    const int64_t q = chunk.q, R = a.group(), inner = a.inner();
    product(q, inner, a.D, grad_out, a.D, a.out_proj, inner, d_gated, inner);
    for (int64_t i = 0; i < q; ++i) {
      for (int64_t g = 0; g < a.G; ++g) {
        const T *z = chunk.rows + i * a.row() + g * R, *yg = y + i * inner + g * R, *weight = a.gate_norm + g * R;
        T *to = gated + i * inner + g * R, *dg = d_gated + i * inner + g * R, *dw = grads.gate_norm + g * R;
        each<T>(R, [&](int64_t r, int64_t n) {
          const Vec<T> zr = load(z + r, n), open = sigmoid(zr);
          store(opened + r, open, n);
          store(to + r, load(yg + r, n) * zr * open, n);
        });
        const T scale = inverse_rms(to, R, a.eps);
        Vec<T> along = {};
        each<T>(R, [&](int64_t r, int64_t n) {
          const Vec<T> normal = load(to + r, n) * scale, grad = load(dg + r, n), w = load(weight + r, n);
          store(dw + r, load(dw + r, n) + grad * normal, n);
          along += grad * w * normal;
        });
        const T mean = sum<T>(along) / T(R);
        each<T>(R, [&](int64_t r, int64_t n) {
          const Vec<T> normal = load(to + r, n) * scale, w = load(weight + r, n), zr = load(z + r, n);
          const Vec<T> grad = (load(dg + r, n) * w - normal * mean) * scale;
          const Vec<T> open = load(opened + r, n);
          store(to + r, normal * w, n);  // the input of out_proj, for its gradient
          store(dy + i * inner + g * R + r, grad * zr * open, n);
          store(d_rows + i * a.row() + g * R + r, grad * load(yg + r, n) * open * (T(1) + zr * (T(1) - open)), n);
        });
      }
    }
    outer_add(a.D, inner, q, grad_out, a.D, gated, inner, grads.out_proj, inner);
  }

  // Through the scan of one group: its columns of d_stream and d_u; d_state moves to the chunk's start.
  void unscan(int64_t g, const T* before) {
    const int64_t q = chunk.q, heads = a.H / a.G, R = a.group(), width = chunk.width, C = a.channels(), N = a.N;
    const int64_t ldn = padded<T>(N), inner = a.inner();
    T *db = d_stream + inner + g * N, *dc = db + a.G * N, *ds = d_state + g * N * R;
    scale_heads(a, q, g, chunk.from_start, width, dy + g * R, inner, dy_weighted, R);
    scale_heads(a, q, g, chunk.to_end, width, chunk.u + g * R, inner, weighted, R);
    transpose(N, R, before + g * N * R, R, state_t, ldn);
    transpose(N, R, ds, R, d_state_t, ldn);
    product(q, N, R, dy_weighted, R, state_t, ldn, dc, C);
    product(q, N, R, weighted, R, d_state_t, ldn, db, C);
    product(q, R, N, chunk.b(g), C, ds, R, d_u + g * R, inner);
    scale_heads(a, q, g, chunk.to_end, width, d_u + g * R, inner, d_u + g * R, inner);
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t h = 0; h < heads; ++h) {
        const T decay = chunk.from_start[(g * heads + h) * width + q - 1];
        each<T>(a.P, [&](int64_t p, int64_t lanes) {
          T* at = ds + n * R + h * a.P + p;
          store(at, decay * load(at, lanes), lanes);
        });
      }
    }
    outer_add(N, R, q, chunk.c(g), C, dy_weighted, R, ds, R);
    chunk.score(g, scores);
    std::memset(d_scores, 0, q * width * sizeof(T));
    for (int64_t h = g * heads; h < (g + 1) * heads; ++h) {
      chunk.mix(h, scores);
      // columns j of M^T, and rows i of dM, meet the lower triangle alone
      for (int64_t j = 0; j < q; j += 8) {
        const int64_t count = q - j < 8 ? q - j : 8;
        outer_add(count, a.P, q - j, chunk.mixing + j * width + j, width, dy + j * inner + h * a.P, inner,
                  d_u + j * inner + h * a.P, inner);
      }
      transpose(q, a.P, chunk.u + h * a.P, inner, u_t, width);
      product(q, q, a.P, dy + h * a.P, inner, u_t, width, d_mixing, width);
      for (int64_t i = 0; i < q; ++i) {
        each<T>(i + 1, [&](int64_t j, int64_t n) {
          T* at = d_scores + i * width + j;
          store(at, load(at, n) + load(d_mixing + i * width + j, n) * load(chunk.decay + i * width + j, n), n);
        });
      }
    }
    product_add(q, N, q, d_scores, width, chunk.b(g), C, dc, C);
    outer_add(q, N, q, d_scores, width, chunk.c(g), C, db, C);
  }

  // The exponents, dt and the skip: d_stream's x, and dt's columns of d_rows.
  void undiscretise(const T* dt, const T* y, int64_t h) {
    const int64_t q = chunk.q, inner = a.inner(), C = a.channels();
    const T A = a.A[h], D = a.skip[h];
    T later = after_dot[h], d_A = 0, d_skip = 0, d_bias = 0;
    for (int64_t i = q - 1; i >= 0; --i) {
      const T *x = chunk.stream + i * C + h * a.P, *du = d_u + i * inner + h * a.P, *g = dy + i * inner + h * a.P,
              *yi = y + i * inner + h * a.P;
      const T step = dt[i * a.H + h];
      Vec<T> x_du = {}, y_g = {}, x_g = {};
      each<T>(a.P, [&](int64_t p, int64_t n) {
        const Vec<T> xp = load(x + p, n), gp = load(g + p, n), dup = load(du + p, n);
        x_du += xp * dup;
        y_g += (load(yi + p, n) - D * xp) * gp;
        x_g += xp * gp;
        store(d_stream + i * C + h * a.P + p, dup * step + D * gp, n);
      });
      const T along = sum<T>(x_du);
      later += sum<T>(y_g) - along * step;  // the gradient of s_i, and of all later ones: that of dt_i A
      d_A += later * step;
      d_skip += sum<T>(x_g);
      const T d_raw = (along + A * later) * slopes[i * a.H + h];
      d_bias += d_raw;
      d_rows[i * a.row() + inner + C + h] = d_raw;
    }
    grads.A[h] += d_A * A;  // A = -exp(A_log) is its own derivative
    grads.skip[h] += d_skip;
    grads.dt_bias[h] += d_bias;
  }

  // <dS, S> of each head at the chunk's end: what its decay there receives.
  void meet_state(const T* after) {
    const int64_t heads = a.H / a.G, R = a.group();
    for (int64_t h = 0; h < a.H; ++h) {
      const int64_t offset = h / heads * a.N * R + h % heads * a.P;
      Vec<T> total = {};
      for (int64_t n = 0; n < a.N; ++n) {
        each<T>(a.P, [&](int64_t p, int64_t lanes) {
          total += load(d_state + offset + n * R + p, lanes) * load(after + offset + n * R + p, lanes);
        });
      }
      after_dot[h] = sum<T>(total);
    }
  }

  // Through silu and the taps: xBC's columns of d_rows. d_pre holds the chunk's rows and the K-1 after them.
  void unconvolve(int64_t start, int64_t sequence) {
    const int64_t first = chunk.q < a.K - 1 ? chunk.q : a.K - 1;  // tokens that may look back beyond the chunk
    for (int64_t i = 0; i < first; ++i) tap_gradients(i, start, sequence);
    if (a.K == 4) {
      unconvolve_rows<4>(first);
    } else {
      unconvolve_rows<0>(first);
    }
  }

  Vec<T> unsilu(int64_t at, int64_t n) const {
    const Vec<T> pre = load(chunk.pre + at, n), open = load(chunk.open + at, n);
    return load(d_stream + at, n) * open * (T(1) + pre * (T(1) - open));
  }

  void tap_gradients(int64_t i, int64_t start, int64_t sequence) {
    const int64_t C = a.channels();
    const T* inputs[16];
    for (int64_t back = 0; back < a.K; ++back) inputs[back] = chunk.input(i, back, start, sequence);
    const int64_t seen = chunk.full(i, start) ? a.K : chunk.t + i - start + 1;
    each<T>(C, [&](int64_t c, int64_t n) {
      const Vec<T> grad = unsilu(i * C + c, n);
      store(d_pre + i * C + c, grad, n);
      store(grads.conv_bias + c, load(grads.conv_bias + c, n) + grad, n);
      for (int64_t back = 0; back < seen; ++back) {
        T* tap = grads.taps + (a.K - 1 - back) * C + c;
        store(tap, load(tap, n) + grad * load(inputs[back] + c, n), n);
      }
    });
  }

  // The taps' gradients of all tokens from `first` on, and all inputs' gradients, a vector of channels at a time.
  template <int TAPS>
  void unconvolve_rows(int64_t first) {
    const int64_t C = a.channels(), K = TAPS ? TAPS : a.K, q = chunk.q, row = a.row();
    each<T>(C, [&](int64_t c, int64_t n) {
      Vec<T> taps[TAPS ? TAPS : 16], d_taps[TAPS ? TAPS : 16], d_bias = load(grads.conv_bias + c, n);
#pragma GCC unroll 4
      for (int64_t back = 0; back < K; ++back) {
        taps[back] = load(a.taps + (K - 1 - back) * C + c, n);
        d_taps[back] = load(grads.taps + (K - 1 - back) * C + c, n);
      }
      const T* from = chunk.rows + first * row + a.inner() + c;
      for (int64_t i = first; i < q; ++i, from += row) {
        const Vec<T> grad = unsilu(i * C + c, n);
        store(d_pre + i * C + c, grad, n);
        d_bias += grad;
#pragma GCC unroll 4
        for (int64_t back = 0; back < K; ++back) d_taps[back] += grad * load(from - back * row, n);
      }
      store(grads.conv_bias + c, d_bias, n);
      for (int64_t back = 0; back < K; ++back) store(grads.taps + (K - 1 - back) * C + c, d_taps[back], n);
      for (int64_t i = 0; i < q; ++i) {
        Vec<T> total = {};
#pragma GCC unroll 4
        for (int64_t ahead = 0; ahead < K; ++ahead) total += taps[ahead] * load(d_pre + (i + ahead) * C + c, n);
        store(d_rows + i * row + a.inner() + c, total, n);
      }
    });
  }

  void run(int64_t b) {
    const int64_t start = a.bounds[b], end = a.bounds[b + 1], Q = a.Q, C = a.channels();
    const int64_t chunks = (end - start + Q - 1) / Q;
    const T* states = a.states + a.first_state[b] * a.state();
    std::memset(d_state, 0, a.state() * sizeof(T));
    for (int64_t k = chunks - 1; k >= 0; --k) {
      const int64_t t = start + k * Q, q = end - t < Q ? end - t : Q;
      const T *dt = a.steps + t * a.H, *y = a.scanned + t * a.inner(), *grad_out = a.grad_out + t * a.D;
      // the rows that follow are the first of the chunk done before this one
      if (k == chunks - 1) {
        std::memset(d_pre + q * C, 0, (a.K - 1) * C * sizeof(T));
      } else {
        std::memmove(d_pre + q * C, d_pre, (a.K - 1) * C * sizeof(T));
      }
      chunk.t = t, chunk.q = q, chunk.rows = a.projected + t * a.row();
      chunk.convolve(start, b);
      chunk.discretise(dt);
      ungate(grad_out, y);
      meet_state(states + (k + 1) * a.state());
      for (int64_t g = 0; g < a.G; ++g) unscan(g, states + k * a.state());
      chunk.raw_steps(slopes);
      each<T>(q * a.H, [&](int64_t i, int64_t n) { store(slopes + i, sigmoid(load(slopes + i, n)), n); });
      for (int64_t h = 0; h < a.H; ++h) undiscretise(dt, y, h);
      unconvolve(start, b);
      rms_norm_rows(q, a.D, a.x + t * a.D, a.norm, a.eps, u, a.D, inverse);
      outer_add(a.columns(), a.D, q, d_rows, a.row(), u, a.D, grads.in_proj, a.D);
      product(q, a.D, a.columns(), d_rows, a.row(), a.in_proj, a.D, u, a.D);
      rms_norm_rows_backward(q, a.D, a.x + t * a.D, a.norm, inverse, u, a.D, grad_out, a.grad_x + t * a.D, grads.norm);
    }
  }
};

template <class T>
void backward(const MambaArguments<T>& a, int64_t first, int64_t last, int64_t part) {
  Scratch scratch;
  Backward<T> work(a, part, scratch);
  for (int64_t b = first; b < last; ++b) work.run(b);
}

}  // namespace

extern "C" void mamba_backward(const MambaArguments<REAL>* a, int64_t first, int64_t last, int64_t part) {
  backward(*a, first, last, part);
}
