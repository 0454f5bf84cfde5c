// Weights on their way: matrices turned and rounded between 16 and 32 bits, and CRC-32 faster than memory is read.
#include <cstdint>
#include <cstring>

#if defined(__PCLMUL__)
#include <immintrin.h>
#endif

namespace {

constexpr int64_t kTile = 16;

// How one number is read and written, as bits. Rounding is to nearest, ties to even; what is not a number stays none.
struct Same16 {
  using From = uint16_t;
  using To = uint16_t;
  static To turn(From x) { return x; }
};
struct Same32 {
  using From = uint32_t;
  using To = uint32_t;
  static To turn(From x) { return x; }
};
struct Widen {  // bfloat16 -> float32
  using From = uint16_t;
  using To = uint32_t;
  static To turn(From x) { return static_cast<To>(x) << 16; }
};
struct Narrow {  // float32 -> bfloat16
  using From = uint32_t;
  using To = uint16_t;
  static To turn(From x) {
    const uint32_t nearest = (x + 0x7fffu + ((x >> 16) & 1u)) >> 16;
    return static_cast<To>((x & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : nearest);
  }
};

// A square of numbers of To, turned in registers: n steps of interleaving rows i and i + n/2 turn n rows of n lanes.
template <class To>
inline void turn_square(To (&tile)[kTile][kTile]) {
  typedef To Row __attribute__((vector_size(kTile * sizeof(To))));
  Row rows[kTile], mixed[kTile];
  std::memcpy(rows, tile, sizeof(rows));
  Row low, high;
  for (int64_t lane = 0; lane < kTile; ++lane) {
    low[lane] = static_cast<To>(lane / 2 + (lane % 2) * kTile);
    high[lane] = static_cast<To>(lane / 2 + kTile / 2 + (lane % 2) * kTile);
  }
#pragma GCC unroll 4
  for (int step = 0; step < 4; ++step) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < kTile / 2; ++i) {
      mixed[2 * i] = __builtin_shuffle(rows[i], rows[i + kTile / 2], low);
      mixed[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + kTile / 2], high);
    }
    std::memcpy(rows, mixed, sizeof(rows));
  }
  std::memcpy(tile, rows, sizeof(rows));
}

// from [rows, columns] -> to [columns, rows], rows of `ld` numbers each.
template <class Kind>
void turned(const typename Kind::From* from, int64_t ld_from, int64_t rows, int64_t columns, typename Kind::To* to,
            int64_t ld_to) {
  using To = typename Kind::To;
  const int64_t high = rows / kTile * kTile, wide = columns / kTile * kTile;
  for (int64_t j = 0; j < wide; j += kTile) {
    for (int64_t i = 0; i < high; i += kTile) {
      alignas(64) To tile[kTile][kTile];
      for (int64_t r = 0; r < kTile; ++r) {
        const typename Kind::From* row = from + (i + r) * ld_from + j;
        for (int64_t c = 0; c < kTile; ++c) tile[r][c] = Kind::turn(row[c]);
      }
      turn_square(tile);
      for (int64_t c = 0; c < kTile; ++c) std::memcpy(to + (j + c) * ld_to + i, tile[c], sizeof(tile[c]));
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = i < high ? wide : 0; j < columns; ++j) to[j * ld_to + i] = Kind::turn(from[i * ld_from + j]);
  }
}

#if defined(__PCLMUL__)

// CRC-32 of zlib by carry-less multiplication: a block is folded onto the next one, what is left is divided byte by byte
// (Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ, Intel 2009).
constexpr uint32_t kPolynomial = 0xedb88320u;

constexpr uint32_t times_x(uint32_t value) { return (value >> 1) ^ ((value & 1u) ? kPolynomial : 0u); }

// x^n modulo the polynomial, bits reflected, one to the left as the products of reflected numbers need it.
constexpr uint64_t power(int n) {
  uint32_t value = 0x80000000u;
  for (int i = 0; i < n; ++i) value = times_x(value);
  return static_cast<uint64_t>(value) << 1;
}

struct Table {
  uint32_t of[256];
  constexpr Table() : of() {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      uint32_t value = byte;
      for (int bit = 0; bit < 8; ++bit) value = times_x(value);
      of[byte] = value;
    }
  }
};
constexpr Table kTable;

inline uint32_t by_bytes(uint32_t crc, const uint8_t* at, int64_t n) {
  for (int64_t i = 0; i < n; ++i) crc = (crc >> 8) ^ kTable.of[(crc ^ at[i]) & 0xff];
  return crc;
}

inline __m128i piece(const uint8_t* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }

inline __m128i multiplier(uint64_t low, uint64_t high) {
  return _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low));
}

inline __m128i fold(__m128i value, __m128i by, __m128i onto) {
  const __m128i low = _mm_clmulepi64_si128(value, by, 0x00), high = _mm_clmulepi64_si128(value, by, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

#if defined(__VPCLMULQDQ__) && defined(__AVX512F__)
constexpr int kLanes = 4;
using Lane = __m512i;
inline Lane lane(const uint8_t* at) { return _mm512_loadu_si512(at); }
inline Lane everywhere(__m128i by) { return _mm512_broadcast_i32x4(by); }
inline Lane fold(Lane value, Lane by, Lane onto) {
  const Lane low = _mm512_clmulepi64_epi128(value, by, 0x00), high = _mm512_clmulepi64_epi128(value, by, 0x11);
  return _mm512_ternarylogic_epi64(low, high, onto, 0x96);
}
#else
constexpr int kLanes = 8;
using Lane = __m128i;
inline Lane lane(const uint8_t* at) { return piece(at); }
inline Lane everywhere(__m128i by) { return by; }
#endif
constexpr int kBlock = kLanes * sizeof(Lane);

uint32_t crc_of(const uint8_t* at, int64_t n, uint32_t begun) {
  uint32_t crc = ~begun;
  if (n >= kBlock) {
    constexpr uint64_t far_low = power(8 * kBlock + 32), far_high = power(8 * kBlock - 32);
    constexpr uint64_t near_low = power(128 + 32), near_high = power(128 - 32);
    const Lane far = everywhere(multiplier(far_low, far_high));
    const __m128i near = multiplier(near_low, near_high);
    uint8_t block[kBlock];
    std::memcpy(block, at, kBlock);
    for (int i = 0; i < 4; ++i) block[i] ^= static_cast<uint8_t>(crc >> (8 * i));
    Lane lanes[kLanes];
    for (int i = 0; i < kLanes; ++i) lanes[i] = lane(block + i * sizeof(Lane));
    for (at += kBlock, n -= kBlock; n >= kBlock; at += kBlock, n -= kBlock) {
      for (int i = 0; i < kLanes; ++i) lanes[i] = fold(lanes[i], far, lane(at + i * sizeof(Lane)));
    }
    std::memcpy(block, lanes, kBlock);
    __m128i rest = piece(block);
    for (int i = 16; i < kBlock; i += 16) rest = fold(rest, near, piece(block + i));
    std::memcpy(block, &rest, 16);
    crc = by_bytes(0, block, 16);
  }
  return ~by_bytes(crc, at, n);
}

#endif

}  // namespace

// Numbers of `from_bytes` each, turned into numbers of `to_bytes`: bfloat16 where those are 2 and the others 4.
extern "C" void turn_numbers(const void* from, int64_t from_bytes, int64_t ld_from, int64_t rows, int64_t columns,
                             void* to, int64_t to_bytes, int64_t ld_to) {
  const auto* half = static_cast<const uint16_t*>(from);
  const auto* whole = static_cast<const uint32_t*>(from);
  auto* half_to = static_cast<uint16_t*>(to);
  auto* whole_to = static_cast<uint32_t*>(to);
  if (from_bytes == 2 && to_bytes == 2) turned<Same16>(half, ld_from, rows, columns, half_to, ld_to);
  if (from_bytes == 4 && to_bytes == 4) turned<Same32>(whole, ld_from, rows, columns, whole_to, ld_to);
  if (from_bytes == 2 && to_bytes == 4) turned<Widen>(half, ld_from, rows, columns, whole_to, ld_to);
  if (from_bytes == 4 && to_bytes == 2) turned<Narrow>(whole, ld_from, rows, columns, half_to, ld_to);
}

// What zlib's crc32(bytes, begun) is; `known` 0 where this processor has no instruction for it.
extern "C" uint32_t crc32_of(const uint8_t* at, int64_t n, uint32_t begun, int32_t* known) {
#if defined(__PCLMUL__)
  *known = 1;
  return crc_of(at, n, begun);
#else
  *known = 0;
  return begun;
#endif
}
