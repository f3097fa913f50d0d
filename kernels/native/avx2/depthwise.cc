// depthwise_avx2: 16 channels at a time, the bytes of two taps interleaved and widened to 16 bits,
// multiplied by vpmaddwd. Panel: [channel / 16][tap pair][16 channels][2] int16.

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx2/epilogue.h"
#include "kernels/native/gemm.h"

namespace furiosa::kernels {
namespace {

constexpr size_t kStripe = 16;  // channels

size_t pairs_of(size_t taps) { return (taps + 1) / 2; }

FURIOSA_INLINE __m128i load(const uint8_t* from, size_t count) {
  if (count >= kStripe) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  alignas(16) uint8_t bytes[kStripe] = {};
  std::memcpy(bytes, from, count);
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}

// Adds up `count` channels from `column` on of a row.
FURIOSA_INLINE void accumulate(const PanelBlock& block, size_t row, size_t column, size_t count,
                               int32_t* accumulators) {
  const auto* bias = reinterpret_cast<const __m256i*>(block.scales->bias + column);
  __m256i low = _mm256_load_si256(bias), high = _mm256_load_si256(bias + 1);
  const auto* weights =
      reinterpret_cast<const __m256i*>(block.panel) + column / kStripe * pairs_of(block.taps) * 2;
  const ptrdiff_t offset = block.row_offset + static_cast<ptrdiff_t>(column);
  for (size_t tap = 0; tap < block.taps; tap += 2, weights += 2) {
    // The weight of a tap that is not there is zero.
    const size_t next = tap + 1 < block.taps ? tap + 1 : tap;
    const __m128i a = load(block.rows[tap * block.row_pitch + row] + offset, count);
    const __m128i b = load(block.rows[next * block.row_pitch + row] + offset, count);
    const __m256i first = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
    const __m256i last = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(first, _mm256_load_si256(weights)));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(last, _mm256_load_si256(weights + 1)));
  }
  _mm256_store_si256(reinterpret_cast<__m256i*>(accumulators + column), low);
  _mm256_store_si256(reinterpret_cast<__m256i*>(accumulators + column) + 1, high);
}

void run(const PanelBlock& block) {
  alignas(32) int32_t accumulators[kPanelColumns] = {};
  for (size_t row = 0; row < block.row_count; ++row) {
    for (size_t column = 0; column < block.columns; column += kStripe) {
      accumulate(block, row, column, block.columns - column, accumulators);
    }
    avx2::store_row(block, row, accumulators);
  }
}

size_t panel_size(size_t taps, size_t, size_t) {
  return pairs_of(taps) * 2 * kPanelColumns * sizeof(int16_t);
}

size_t slot(size_t column, size_t) { return column; }

void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  std::memset(panel, 0, panel_size(source.taps, 1, source.columns));
  for (size_t column = 0; column < source.columns; ++column) {
    const uint8_t* from = source.data + static_cast<ptrdiff_t>(column) * source.column_stride;
    auto* to = reinterpret_cast<int16_t*>(panel) +
               column / kStripe * pairs_of(source.taps) * 2 * kStripe + column % kStripe * 2;
    uint32_t sum = 0;
    for (size_t tap = 0; tap < source.taps; ++tap, from += source.tap_stride) {
      const auto weight = static_cast<int8_t>(*from ^ source.flip);
      to[tap / 2 * 2 * kStripe + tap % 2] = weight;
      sum += static_cast<uint32_t>(weight);
    }
    if (column_sums != nullptr) column_sums[column] = static_cast<int32_t>(sum);
  }
}

}  // namespace

const PanelKernels depthwise_avx2 = {"depthwise_avx2", panel_size, pack, slot, run};

}  // namespace furiosa::kernels
