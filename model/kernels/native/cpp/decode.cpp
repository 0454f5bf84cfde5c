// One token more for each of some sequences, through the whole stack: states, keys and values are read and written
// where they lie, and every row of numbers is computed alike whoever else is in the step.
#include "attention.h"
#include "mamba.h"
#include "moe_forward.h"

template <class T>
struct DecodeArguments {
  int64_t rows, D, V, num_layers, num_slots, capacity;
  double eps;
  const int64_t* kinds;       // of each layer: 0 Mamba, 1 attention, 2 experts
  const void* const* layers;  // its arguments; x and out are set here
  const int64_t *tokens, *slots, *lengths;
  const T *embeddings, *norm, *head_t;  // [V, D], [D], [D, padded V] or null: stop before the head
  T *conv, *ssm, *keys, *values;        // the cache's buffers, every layer and slot
  T* out;                               // [rows, V], or [rows, D] without a head
  int64_t* experts;                     // [MoE layers, rows, k]
};

namespace {

template <class T>
struct Decode {
  const DecodeArguments<T>& d;
  Scratch scratch;
  T *hidden, *next, *u, *rows, *inner, *keys_t, *scores;

  explicit Decode(const DecodeArguments<T>& arguments) : d(arguments) {
    int64_t widest = 0, inner_size = 0, head = 0, group = 0;
    for (int64_t l = 0; l < d.num_layers; ++l) {
      if (d.kinds[l] == 0) {
        const auto& a = layer<MambaArguments<T>>(l);
        widest = std::max(widest, a.row() + a.channels());
        inner_size = std::max(inner_size, a.inner());
      } else if (d.kinds[l] == 1) {
        const auto& a = layer<AttentionArguments<T>>(l);
        widest = std::max(widest, a.row());
        inner_size = std::max(inner_size, a.inner());
        head = std::max(head, a.size), group = std::max(group, a.heads / a.kv_heads);
      }
    }
    const int64_t width = padded<T>(d.capacity);
    hidden = scratch.take<T>(d.rows * d.D);
    next = scratch.take<T>(d.rows * d.D);
    u = scratch.take<T>(d.rows * d.D);
    rows = scratch.take<T>(d.rows * widest);
    inner = scratch.take<T>(d.rows * inner_size);
    keys_t = scratch.take<T>(head * width);
    scores = scratch.take<T>(group * width);
  }

  template <class A>
  const A& layer(int64_t l) const {
    return *static_cast<const A*>(d.layers[l]);
  }

  void run() {
    for (int64_t r = 0; r < d.rows; ++r) {
      std::memcpy(hidden + r * d.D, d.embeddings + d.tokens[r] * d.D, d.D * sizeof(T));
    }
    int64_t seen[3] = {0, 0, 0};
    for (int64_t l = 0; l < d.num_layers; ++l) {
      const int64_t place = seen[d.kinds[l]]++;
      if (d.kinds[l] == 0) {
        mamba(layer<MambaArguments<T>>(l), place);
      } else if (d.kinds[l] == 1) {
        attend(layer<AttentionArguments<T>>(l), place);
      } else {
        experts(layer<MoEArguments<T>>(l), place);
      }
    }
    T* last = d.head_t ? u : d.out;
    rms_norm_rows<T>(d.rows, d.D, hidden, d.norm, d.eps, last, d.D, nullptr);
    if (d.head_t) product(d.rows, d.V, d.D, u, d.D, d.head_t, padded<T>(d.V), d.out, d.V);
  }

  void experts(const MoEArguments<T>& layer, int64_t place) {
    MoEArguments<T> a = layer;
    a.tokens = d.rows, a.x = hidden, a.out = next, a.experts = d.experts + place * d.rows * a.k;
    a.recorded = nullptr, a.chosen = a.hidden = a.shared_hidden = nullptr;
    const size_t mark = scratch.mark();
    MoEForward<T> work(a, scratch);
    for (int64_t first = 0; first < d.rows; first += a.block) work.run(first, std::min(a.block, d.rows - first));
    scratch.release(mark);
    std::swap(hidden, next);
  }

  void mamba(const MambaArguments<T>& a, int64_t place) {
    const int64_t row = a.row(), C = a.channels(), size = a.inner();
    rms_norm_rows<T>(d.rows, d.D, hidden, a.norm, d.eps, u, d.D, nullptr);
    product(d.rows, row, d.D, u, d.D, a.in_proj_t, row, rows, row);
    T* stream = rows + d.rows * row;
    for (int64_t r = 0; r < d.rows; ++r) {
      const int64_t slot = place * d.num_slots + d.slots[r];
      T *mine = rows + r * row, *xBC = stream + r * C, *y = inner + r * size;
      convolve(a, mine + size, d.conv + slot * (a.K - 1) * C, xBC);
      T* dt = mine + size + C;
      for (int64_t h = 0; h < a.H; ++h) dt[h] += a.dt_bias[h];
      each<T>(a.H, [&](int64_t h, int64_t n) { store(dt + h, softplus(load(dt + h, n)), n); });
      for (int64_t h = 0; h < a.H; ++h) step(a, h, dt[h], xBC, d.ssm + slot * a.state(), y);
      gate_row(a, mine, y);
    }
    product_add(d.rows, d.D, size, inner, size, a.out_proj_t, d.D, hidden, d.D);
  }

  static void convolve(const MambaArguments<T>& a, const T* input, T* state, T* out) {
    const int64_t C = a.channels(), K = a.K;
    each<T>(C, [&](int64_t c, int64_t n) {
      const Vec<T> now = load(input + c, n);
      Vec<T> total = load(a.conv_bias + c, n) + now * load(a.taps + (K - 1) * C + c, n);
      for (int64_t k = K - 2; k >= 0; --k) total += load(state + k * C + c, n) * load(a.taps + k * C + c, n);
      for (int64_t k = 0; k + 2 < K; ++k) store(state + k * C + c, load(state + (k + 1) * C + c, n), n);
      if (K > 1) store(state + (K - 2) * C + c, now, n);
      store(out + c, total * sigmoid(total), n);
    });
  }

  // One head of one token: its state [N, P] within [G, N, RP], and its part of y.
  static void step(const MambaArguments<T>& a, int64_t h, T dt, const T* xBC, T* state, T* y) {
    const int64_t heads = a.H / a.G, g = h / heads, R = a.group();
    const T *x = xBC + h * a.P, *b = xBC + a.inner() + g * a.N, *c = b + a.G * a.N;
    T* mine = state + g * a.N * R + h % heads * a.P;
    const T decay = exponential(Vec<T>{} + dt * a.A[h])[0];
    each<T>(a.P, [&](int64_t p, int64_t n) {
      const Vec<T> xp = load(x + p, n), u = xp * dt;
      Vec<T> total = {};
      for (int64_t i = 0; i < a.N; ++i) {
        const Vec<T> moved = load(mine + i * R + p, n) * decay + u * b[i];
        store(mine + i * R + p, moved, n);
        total += moved * c[i];
      }
      store(y + h * a.P + p, total + xp * a.skip[h], n);
    });
  }

  // y = norm(y silu(z)) weight, each group on its own.
  void gate_row(const MambaArguments<T>& a, const T* z, T* y) const {
    const int64_t R = a.group();
    for (int64_t g = 0; g < a.G; ++g) {
      each<T>(R, [&](int64_t r, int64_t n) {
        const Vec<T> zr = load(z + g * R + r, n);
        store(y + g * R + r, load(y + g * R + r, n) * zr * sigmoid(zr), n);
      });
      const T scale = inverse_rms(y + g * R, R, a.eps);
      each<T>(R, [&](int64_t r, int64_t n) {
        store(y + g * R + r, load(y + g * R + r, n) * scale * load(a.gate_norm + g * R + r, n), n);
      });
    }
  }

  void attend(const AttentionArguments<T>& a, int64_t place) {
    rms_norm_rows<T>(d.rows, d.D, hidden, a.norm, d.eps, u, d.D, nullptr);
    product(d.rows, a.row(), d.D, u, d.D, a.qkv_t, a.row(), rows, a.row());
    const int64_t group = a.heads / a.kv_heads;
    for (int64_t r = 0; r < d.rows; ++r) {
      T* mine = rows + r * a.row();
      for (int64_t i = 0; i < a.heads * a.size; ++i) mine[i] *= a.scale();
      for (int64_t kv = 0; kv < a.kv_heads; ++kv) {
        const int64_t at = ((place * d.num_slots + d.slots[r]) * a.kv_heads + kv) * d.capacity * a.size;
        T *keys = d.keys + at, *values = d.values + at;
        const int64_t seen = d.lengths[r] + 1;
        std::memcpy(keys + (seen - 1) * a.size, mine + a.key(kv * group), a.size * sizeof(T));
        std::memcpy(values + (seen - 1) * a.size, mine + a.value(kv * group), a.size * sizeof(T));
        read(a, mine + kv * group * a.size, keys, values, seen, inner + r * a.inner() + kv * group * a.size);
      }
    }
    product_add(d.rows, d.D, a.inner(), inner, a.inner(), a.o_t, d.D, hidden, d.D);
  }

  // The query heads of one key head against what it holds: q [group, size] -> out [group, size].
  void read(const AttentionArguments<T>& a, const T* q, const T* keys, const T* values, int64_t seen, T* out) {
    const int64_t group = a.heads / a.kv_heads, width = padded<T>(d.capacity);
    transpose(seen, a.size, keys, a.size, keys_t, width);
    product(group, seen, a.size, q, a.size, keys_t, width, scores, width);
    for (int64_t h = 0; h < group; ++h) {
      T* row = scores + h * width;
      Vec<T> most = Vec<T>{} + row[0], total = {};
      each<T>(seen, [&](int64_t j, int64_t n) {
        const Vec<T> part = first_lanes<T>(load(row + j, n), n, most);
        most = part > most ? part : most;
      });
      const T highest = largest<T>(most);
      each<T>(seen, [&](int64_t j, int64_t n) {
        const Vec<T> part = first_lanes<T>(exponential(load(row + j, n) - highest), n);
        total += part;
        store(row + j, part, n);
      });
      const T inverse = T(1) / sum<T>(total);
      product(1, a.size, seen, row, width, values, a.size, out + h * a.size, a.size);
      each<T>(a.size, [&](int64_t p, int64_t n) {
        store(out + h * a.size + p, load(out + h * a.size + p, n) * inverse, n);
      });
    }
  }
};

}  // namespace

extern "C" void decode(const DecodeArguments<REAL>* d) { Decode<REAL>(*d).run(); }
