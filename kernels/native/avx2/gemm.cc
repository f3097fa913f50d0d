// gemm_avx2: bytes and weights widened to 16 bits, multiplied by vpmaddwd: vpmaddubsw would
// saturate. Tiles of R rows by 16 columns in registers; up to kChunk channels of the rows are
// widened at a time, for all columns. Panel: [column / 16][channel pair][16 columns][2] int16, the
// channels of all taps in a row.

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx2/epilogue.h"
#include "kernels/native/gemm.h"

namespace furiosa::kernels {
namespace {

constexpr size_t kRows = 6;
constexpr size_t kChunk = 512;
constexpr size_t kStripe = 16;  // columns

struct Rows {
  alignas(32) int16_t widened[kRows][kChunk];
  alignas(32) int32_t accumulators[kRows][kPanelColumns];
};

// Where the next channels of a block's rows are.
struct Cursor {
  size_t tap = 0;
  size_t channel = 0;
};

FURIOSA_INLINE void widen(const uint8_t* from, size_t count, int16_t* to) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_cvtepu8_epi16(bytes));
  }
  for (; i < count; ++i) to[i] = from[i];
}

// Widens the next channels of rows [row, row + count) and returns how many pairs of them there are.
size_t widen_rows(const PanelBlock& block, size_t row, size_t count, Cursor* cursor, Rows* rows) {
  size_t filled = 0;
  while (cursor->tap < block.taps && filled < kChunk) {
    const size_t left = block.depth - cursor->channel, room = kChunk - filled;
    const size_t run = left < room ? left : room;
    for (size_t r = 0; r < count; ++r) {
      const uint8_t* from = block.rows[cursor->tap * block.row_pitch + row + r] + block.row_offset;
      widen(from + cursor->channel, run, rows->widened[r] + filled);
    }
    filled += run;
    cursor->channel += run;
    if (cursor->channel == block.depth) *cursor = {cursor->tap + 1, 0};
  }
  if (filled % 2 != 0) {
    for (size_t r = 0; r < count; ++r) rows->widened[r][filled] = 0;
  }
  return (filled + 1) / 2;
}

template <size_t R>
void multiply(const int16_t* weights, size_t pairs, size_t column, Rows* rows) {
  __m256i sums[R][2];
#pragma GCC unroll 6
  for (size_t r = 0; r < R; ++r) {
    const auto* from = reinterpret_cast<const __m256i*>(rows->accumulators[r] + column);
    sums[r][0] = _mm256_load_si256(from);
    sums[r][1] = _mm256_load_si256(from + 1);
  }
  for (size_t pair = 0; pair < pairs; ++pair, weights += 2 * kStripe) {
    const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights));
    const __m256i high = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights) + 1);
#pragma GCC unroll 6
    for (size_t r = 0; r < R; ++r) {
      int32_t two;
      std::memcpy(&two, rows->widened[r] + 2 * pair, sizeof(two));
      const __m256i bytes = _mm256_set1_epi32(two);
      sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(bytes, low));
      sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(bytes, high));
    }
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < R; ++r) {
    auto* to = reinterpret_cast<__m256i*>(rows->accumulators[r] + column);
    _mm256_store_si256(to, sums[r][0]);
    _mm256_store_si256(to + 1, sums[r][1]);
  }
}

size_t pairs_of(size_t taps, size_t depth) { return (taps * depth + 1) / 2; }

template <size_t R>
void run_rows(const PanelBlock& block, size_t row, Rows* rows) {
  for (size_t r = 0; r < R; ++r) {
    const uint32_t own =
        block.row_bias == nullptr ? 0 : static_cast<uint32_t>(block.row_bias[row + r]);
    for (size_t column = 0; column < kPanelColumns; ++column) {
      rows->accumulators[r][column] =
          static_cast<int32_t>(static_cast<uint32_t>(block.scales->bias[column]) + own);
    }
  }
  const auto* weights = reinterpret_cast<const int16_t*>(block.panel);
  const size_t stripe = pairs_of(block.taps, block.depth) * 2 * kStripe;
  for (Cursor cursor; cursor.tap < block.taps;) {
    const size_t pairs = widen_rows(block, row, R, &cursor, rows);
    for (size_t column = 0; column < block.columns; column += kStripe) {
      multiply<R>(weights + column / kStripe * stripe, pairs, column, rows);
    }
    weights += pairs * 2 * kStripe;
  }
  for (size_t r = 0; r < R; ++r) avx2::store_row(block, row + r, rows->accumulators[r]);
}

void run(const PanelBlock& block) {
  Rows rows;
  size_t row = 0;
  for (; row + kRows <= block.row_count; row += kRows) run_rows<kRows>(block, row, &rows);
  for (; row + 2 <= block.row_count; row += 2) run_rows<2>(block, row, &rows);
  if (row < block.row_count) run_rows<1>(block, row, &rows);
}

size_t panel_size(size_t taps, size_t depth, size_t columns) {
  const size_t stripes = (columns + kStripe - 1) / kStripe;
  return stripes * pairs_of(taps, depth) * 2 * kStripe * sizeof(int16_t);
}

size_t slot(size_t column, size_t) { return column; }

void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  const size_t stripe = pairs_of(source.taps, source.depth) * 2 * kStripe;
  std::memset(panel, 0, panel_size(source.taps, source.depth, source.columns));
  for (size_t column = 0; column < source.columns; ++column) {
    auto* to = reinterpret_cast<int16_t*>(panel) + column / kStripe * stripe + column % kStripe * 2;
    uint32_t sum = 0;
    size_t k = 0;
    for (size_t tap = 0; tap < source.taps; ++tap) {
      const uint8_t* from = source.data + static_cast<ptrdiff_t>(tap) * source.tap_stride +
                            static_cast<ptrdiff_t>(column) * source.column_stride;
      for (size_t channel = 0; channel < source.depth; ++channel, ++k) {
        const auto weight = static_cast<int8_t>(*from ^ source.flip);
        from += source.channel_stride;
        to[k / 2 * 2 * kStripe + k % 2] = weight;
        sum += static_cast<uint32_t>(weight);
      }
    }
    if (column_sums != nullptr) column_sums[column] = static_cast<int32_t>(sum);
  }
}

}  // namespace

const PanelKernels gemm_avx2 = {"gemm_avx2", panel_size, pack, slot, run};

}  // namespace furiosa::kernels
