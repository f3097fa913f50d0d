// first_conv_avx512vnni: tiles of R output pixels by 16 * V columns in registers. The windows of
// neighbours are a constant way apart, so that no addresses are stored.

#include "kernels/native/first_conv.h"

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/vnni.h"

namespace furiosa::kernels {
namespace {

using avx512vnni::dot;
using avx512vnni::Finish;

FURIOSA_INLINE __m512i four(const uint8_t* from) {
  int32_t word;
  std::memcpy(&word, from, sizeof(word));
  return _mm512_set1_epi32(word);
}

// R addresses, `step` apart, of which few take a register: an address may add 1, 2, 4 or 8 times a
// register to another.
template <int R>
struct Addresses {
  static constexpr int kBases = (R + 7) / 8;
  const uint8_t* bases[kBases];
  ptrdiff_t one, three, five, seven;

  FURIOSA_INLINE Addresses(const uint8_t* first, ptrdiff_t step)
      : one(step), three(3 * step), five(5 * step), seven(7 * step) {
    FURIOSA_UNROLL for (int i = 0; i < kBases; ++i) bases[i] = first + 8 * i * step;
    // The compiler would compute each address on its own if it knew how these are related.
    asm("" : "+r"(three), "+r"(five), "+r"(seven));
  }

  FURIOSA_INLINE const uint8_t* operator[](int r) const {
    const uint8_t* base = bases[r / 8];
    switch (r % 8) {
      case 0:
        return base;
      case 1:
      case 2:
      case 4:
        return base + r % 8 * one;
      case 3:
      case 6:
        return base + r % 8 / 3 * three;
      case 5:
        return base + five;
      default:
        return base + seven;
    }
  }

  FURIOSA_INLINE void advance(ptrdiff_t bytes) {
    FURIOSA_UNROLL for (int i = 0; i < kBases; ++i) bases[i] += bytes;
  }
};

template <int R, int V>
struct Tile {
  // All 32 registers hold accumulators, weights and bytes: the last weights come from memory.
  static constexpr int kHeld = R * V + V + 1 > 32 ? V - 1 : V;
  __m512i accumulators[R][V];
  const __m512i* weights;

  // Adds the products of `fours` fours that are `pitch` apart.
  FURIOSA_INLINE void add(const uint8_t* first, ptrdiff_t step, size_t fours, ptrdiff_t pitch) {
    Addresses<R> windows(first, step);
    for (size_t f = 0; f < fours; ++f, weights += V) {
      __m512i held[V];
      FURIOSA_UNROLL for (int v = 0; v < kHeld; ++v) held[v] = _mm512_load_si512(weights + v);
      FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
        const __m512i bytes = four(windows[r]);
        FURIOSA_UNROLL for (int v = 0; v < kHeld; ++v) dot(accumulators[r][v], bytes, held[v]);
        if constexpr (kHeld < V) dot(accumulators[r][V - 1], bytes, weights + V - 1);
      }
      windows.advance(pitch);
    }
  }
};

// The constants of a row's epilogue.
template <int V, Finish kFinish>
struct Finisher {
  static constexpr int kRows = avx512vnni::kRows<V>;

  const avx512vnni::Requantiser requantise;
  const uint8_t* const table;
  const float* const multiplier;
  uint8_t* const y;
  const ptrdiff_t y_step;
  const __mmask64 mask;
  const bool whole;
  const bool dense;  // the bytes of kRows pixels are adjacent

  FURIOSA_INLINE explicit Finisher(const FirstConvRow& row)
      : requantise(*row.epilogue),
        table(row.epilogue->table),
        multiplier(row.scales->multiplier),
        y(row.y),
        y_step(row.y_step),
        mask(avx512vnni::column_mask(row.columns)),
        whole(row.columns == 64 / kRows),
        dense(whole && y_step == 64 / kRows) {}

  FURIOSA_INLINE void operator()(ptrdiff_t pixel,
                                 const __m512i (&sums)[avx512vnni::kVectors<V>]) const {
    __m512i bytes = requantise.template operator()<V>(sums, multiplier);
    if constexpr (kFinish == Finish::kTable) bytes = avx512vnni::look_up(table, bytes);
    bytes = avx512vnni::to_rows<V>(bytes);
    uint8_t* first = y + pixel * y_step;
    if (kRows > 1 && dense) return _mm512_storeu_si512(first, bytes);
    uint8_t* to[kRows];
    FURIOSA_UNROLL for (int r = 0; r < kRows; ++r) to[r] = first + r * y_step;
    avx512vnni::store_parts<kRows>(to, whole, mask, bytes);
  }
};

template <int R, int V, Finish kFinish>
void run_tiles(const FirstConvRow& row) {
  static_assert(R % avx512vnni::kRows<V> == 0 && R <= kFirstConvPixels);
  const Finisher<V, kFinish> finish(row);
  const ptrdiff_t last = row.width - R;
  for (ptrdiff_t next = 0; next < row.width; next += R) {
    const ptrdiff_t pixel = next < last ? next : last;  // the last tile may repeat some pixels
    Tile<R, V> tile;
    tile.weights = reinterpret_cast<const __m512i*>(row.panel);
    FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
      FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
        tile.accumulators[r][v] = _mm512_load_si512(row.scales->bias + 16 * v);
      }
    }
    for (size_t ky = 0; ky < row.kernel_h; ++ky) {
      tile.add(row.lines[ky] + pixel * row.line_step, row.line_step, row.line_fours, 4);
    }
    tile.add(row.packed + pixel * 4, 4, row.packed_fours, row.packed_pitch);
    constexpr int kGroup = avx512vnni::kRows<V>;
    FURIOSA_UNROLL for (int r = 0; r < R; r += kGroup) {
      __m512i group[avx512vnni::kVectors<V>];
      FURIOSA_UNROLL for (int i = 0; i < kGroup * V; ++i) {
        group[i] = tile.accumulators[r + i / V][i % V];
      }
      finish(pixel + r, group);
    }
  }
}

template <int R, int V>
void run_finish(const FirstConvRow& row) {
  if (row.epilogue->table != nullptr) return run_tiles<R, V, Finish::kTable>(row);
  return run_tiles<R, V, Finish::kPlain>(row);
}

void run(const FirstConvRow& row) {
  switch ((row.columns + 15) / 16) {
    case 1:
      return run_finish<12, 1>(row);
    case 2:
      return run_finish<8, 2>(row);
    case 3:
      return run_finish<4, 3>(row);
    default:
      return run_finish<4, 4>(row);
  }
}

// Sixteen pixels at a time: their bytes are within two vectors.
void pack(const FirstConvRow& row, const FirstConvRemainder* remainders, size_t count,
          uint8_t* packed) {
  static_assert((kFirstConvPixels - 1) * kFirstConvPackedStep + 4 <= 128);
  alignas(64) uint8_t places[64];
  for (int i = 0; i < 64; ++i) places[i] = static_cast<uint8_t>(i / 4 * row.line_step + i % 4);
  const __m512i order = _mm512_load_si512(places);
  for (ptrdiff_t pixel = 0; pixel < row.width; pixel += kFirstConvPixels) {
    __m512i bytes = _mm512_setzero_si512();
    for (size_t i = 0; i < count; ++i) {
      const FirstConvRemainder& from = remainders[i];
      const uint8_t* line = row.lines[from.line] + pixel * row.line_step +
                            static_cast<ptrdiff_t>(from.offset) -
                            static_cast<ptrdiff_t>(from.first);
      const uint32_t own = ((1u << from.count) - 1) << from.first;
      const __mmask64 mask = _cvtu64_mask64(own * 0x1111111111111111u);
      const __m512i picked = _mm512_maskz_permutex2var_epi8(mask, _mm512_loadu_si512(line), order,
                                                            _mm512_loadu_si512(line + 64));
      bytes = _mm512_or_si512(bytes, picked);
      if (i + 1 < count && remainders[i + 1].four == from.four) continue;
      _mm512_storeu_si512(packed + static_cast<ptrdiff_t>(from.four) * row.packed_pitch + pixel * 4,
                          bytes);
      bytes = _mm512_setzero_si512();
    }
  }
}

}  // namespace

const FirstConvKernels first_conv_avx512vnni = {run, pack};

}  // namespace furiosa::kernels
