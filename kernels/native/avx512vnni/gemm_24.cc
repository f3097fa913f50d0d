// gemm_24_avx512vnni: 17 to 24 columns. Two vectors of 16 would be filled by three quarters; here
// the last eight columns of two rows share one.

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/vnni.h"
#include "kernels/native/gemm.h"

namespace furiosa::kernels {
namespace {

using avx512vnni::Adder;
using avx512vnni::dot;
using avx512vnni::Finish;
using avx512vnni::four;
using avx512vnni::Requantiser;

constexpr size_t kFirst = 16;  // columns of the first vector
constexpr size_t kRest = 8;    // of the second, in each of its halves
constexpr int kPairs = 8;      // of rows in the highest tile
constexpr int kSums = 3;       // vectors of a pair of rows: the first of each, and the shared one

static_assert(2 * kPairs <= kSpareRows);

// Packing leaves in each lane four bytes of the first vectors of both rows, of the shared one, and
// four to ignore. The rows, each in its half, and back:
FURIOSA_INLINE __m512i to_halves(__m512i packed) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 3, 3, 1, 5, 9, 13, 10, 14, 3, 3);
  return _mm512_permutexvar_epi32(order, packed);
}
FURIOSA_INLINE __m512i to_packed(__m512i halves) {
  const __m512i order = _mm512_setr_epi32(0, 8, 4, 4, 1, 9, 5, 5, 2, 10, 12, 12, 3, 11, 13, 13);
  return _mm512_permutexvar_epi32(order, halves);
}

// Multiplies a block, a tile of pairs of rows at a time.
template <Finish kFinish>
class Runner {
 public:
  FURIOSA_INLINE explicit Runner(const PanelBlock& block)
      : block_(block),
        requantise_(*block.epilogue),
        add_(*block.epilogue),
        mask_(static_cast<__mmask32>(avx512vnni::column_mask(block.columns))) {
    const int32_t* bias = block.scales->bias;
    first_bias_ = _mm512_load_si512(bias);
    rest_bias_ =
        _mm512_broadcast_i64x4(_mm256_load_si256(reinterpret_cast<const __m256i*>(bias + kFirst)));
    const float* multiplier = block.scales->multiplier;
    const __m512 first = _mm512_load_ps(multiplier);
    _mm512_store_ps(multiplier_, first);
    _mm512_store_ps(multiplier_ + 16, first);
    _mm512_store_ps(multiplier_ + 32, _mm512_broadcast_f32x8(_mm256_load_ps(multiplier + kFirst)));
  }

  FURIOSA_INLINE void run() const {
    size_t row = 0;
    while (row < block_.row_count) {
      const size_t pairs = (block_.row_count - row + 1) / 2;
      row += pairs >= kPairs ? tile<kPairs>(row)
             : pairs >= 4    ? tile<4>(row)
             : pairs >= 2    ? tile<2>(row)
                             : tile<1>(row);
    }
  }

 private:
  // Computes kCount pairs of rows from `row` on; returns how many rows that is.
  template <int kCount>
  size_t tile(size_t row) const {
    __m512i sums[kCount][kSums];
    FURIOSA_UNROLL for (int pair = 0; pair < kCount; ++pair) {
      sums[pair][0] = sums[pair][1] = first_bias_;
      sums[pair][2] = rest_bias_;
    }
    const auto* weights = reinterpret_cast<const __m512i*>(block_.panel);
    const ptrdiff_t depth = static_cast<ptrdiff_t>(block_.depth) + block_.row_offset;
    const uint8_t* const* rows = block_.rows + row;
    for (size_t tap = 0; tap < block_.taps; ++tap, rows += block_.row_pitch) {
      for (ptrdiff_t channel = block_.row_offset; channel < depth; channel += 4, weights += 2) {
        // More addresses than registers: to load them again takes less than to spill copies.
        if constexpr (kCount > 4) asm volatile("" ::: "memory");
        __m512i first, rest;
        asm("vmovdqa64 %1, %0" : "=v"(first) : "m"(weights[0]));
        asm("vmovdqa64 %1, %0" : "=v"(rest) : "m"(weights[1]));
        FURIOSA_UNROLL for (int pair = 0; pair < kCount; ++pair) {
          const __m512i one = four(rows[2 * pair] + channel);
          const __m512i other = four(rows[2 * pair + 1] + channel);
          dot(sums[pair][0], one, first);
          dot(sums[pair][1], other, first);
          dot(sums[pair][2], _mm512_mask_blend_epi32(0xFF00, one, other), rest);
        }
      }
    }
    FURIOSA_UNROLL for (int pair = 0; pair < kCount; ++pair) {
      finish(row + 2 * static_cast<size_t>(pair), sums[pair]);
    }
    return 2 * kCount;
  }

  FURIOSA_INLINE void finish(size_t row, const __m512i (&sums)[kSums]) const {
    __m512i bytes;
    if constexpr (kFinish == Finish::kAdd) {
      bytes = add_.template operator()<kSums>(requantise_, sums, multiplier_, residual(row));
    } else {
      bytes = requantise_.template operator()<kSums>(sums, multiplier_);
      if constexpr (kFinish != Finish::kPlain) {
        bytes = avx512vnni::look_up(block_.epilogue->table, bytes);
      }
      if constexpr (kFinish == Finish::kTableAdd) {
        bytes = add_.template operator()<kSums>(bytes, residual(row));
      }
    }
    bytes = to_halves(bytes);
    store(row, _mm512_castsi512_si256(bytes));
    store(row + 1, _mm512_extracti64x4_epi64(bytes, 1));
  }

  FURIOSA_INLINE __m512i residual(size_t row) const {
    const uint8_t* one = block_.residual[row] + block_.first_column;
    const uint8_t* other = block_.residual[row + 1] + block_.first_column;
    const __m256i low = _mm256_maskz_loadu_epi8(mask_, one);
    const __m256i high = _mm256_maskz_loadu_epi8(mask_, other);
    return to_packed(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
  }

  FURIOSA_INLINE void store(size_t row, __m256i bytes) const {
    auto* to = static_cast<uint8_t*>(block_.y[row]) + block_.first_column;
    _mm256_mask_storeu_epi8(to, mask_, bytes);
  }

  const PanelBlock& block_;
  const Requantiser requantise_;
  const Adder add_;
  const __mmask32 mask_;
  __m512i first_bias_, rest_bias_;
  alignas(64) float multiplier_[16 * kSums];
};

template <Finish kFinish>
void run_all(const PanelBlock& block) {
  Runner<kFinish>(block).run();
}

void run(const PanelBlock& block) {
  switch (avx512vnni::finish_of(*block.epilogue)) {
    case Finish::kPlain:
      return run_all<Finish::kPlain>(block);
    case Finish::kTable:
      return run_all<Finish::kTable>(block);
    case Finish::kAdd:
      return run_all<Finish::kAdd>(block);
    default:
      return run_all<Finish::kTableAdd>(block);
  }
}

size_t panel_size(size_t taps, size_t depth, size_t) { return taps * (depth / 4) * 128; }

size_t slot(size_t column, size_t) { return column; }

void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  std::memset(panel, 0, panel_size(source.taps, source.depth, source.columns));
  for (size_t column = 0; column < source.columns; ++column) {
    uint32_t sum = 0;
    uint8_t* to = panel + 4 * column;
    for (size_t tap = 0; tap < source.taps; ++tap) {
      const uint8_t* from = source.data + static_cast<ptrdiff_t>(tap) * source.tap_stride +
                            static_cast<ptrdiff_t>(column) * source.column_stride;
      for (size_t channel = 0; channel < source.depth; ++channel, from += source.channel_stride) {
        const uint8_t weight = *from ^ source.flip;
        uint8_t* own = to + channel / 4 * 128 + channel % 4;
        *own = weight;
        if (column >= kFirst) own[4 * kRest] = weight;
        sum += static_cast<uint32_t>(static_cast<int8_t>(weight));
      }
      to += source.depth / 4 * 128;
    }
    if (column_sums != nullptr) column_sums[column] = static_cast<int32_t>(sum);
  }
}

}  // namespace

bool fits_gemm_24(size_t columns, size_t depth, const Epilogue& epilogue) {
  return columns > kFirst && columns <= kFirst + kRest && depth % 4 == 0 &&
         avx512vnni::finish_of(epilogue) != Finish::kAny;
}

const PanelKernels gemm_24_avx512vnni = {"gemm_24_avx512vnni", panel_size, pack, slot, run};

}  // namespace furiosa::kernels
