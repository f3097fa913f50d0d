// gemm_avx2: tiles of R rows by 8 * V columns in registers. Units are two channels, widened to 16
// bits: up to kChunk channels of a tile's rows are widened at a time, for all columns. The channels
// of all taps are in a row.

#include <immintrin.h>

#include "kernels/native/avx2/gemm_panel.h"
#include "kernels/native/avx2/words.h"

namespace furiosa::kernels {
namespace {

using avx2::Words;

constexpr size_t kMostRows = 6;
constexpr size_t kChunk = 1024;

struct Rows {
  alignas(32) int16_t widened[kMostRows][kChunk];
  alignas(32) int32_t sums[kMostRows][kPanelColumns];  // between chunks
};

// Where the next channels of a block's rows are.
struct Cursor {
  size_t tap = 0;
  size_t channel = 0;
};

FURIOSA_INLINE void widen(const uint8_t* from, size_t count, int16_t* to) {
  const auto widen_at = [from, to](size_t i) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_cvtepu8_epi16(bytes));
  };
  if (count >= 16) {
    for (size_t i = 0; i + 16 < count; i += 16) widen_at(i);
    return widen_at(count - 16);
  }
  const __m128i words = _mm_cvtepu8_epi16(
      _mm_cvtsi64_si128(static_cast<int64_t>(avx2::load_8(from, count < 8 ? count : 8))));
  if (count < 8) {
    for (size_t i = 0; i < count; ++i) to[i] = from[i];
    return;
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), words);
  const __m128i last = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + count - 8));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + count - 8), _mm_cvtepu8_epi16(last));
}

// Widens the next channels of rows [row, row + count) and returns how many units they are.
FURIOSA_INLINE size_t widen_rows(const PanelBlock& block, size_t row, size_t count, Cursor* cursor,
                                 Rows* rows) {
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

// A chunk of a tile's channels.
struct Chunk {
  size_t first, units;  // in units of a panel's columns
  bool last;
};

// Takes a chunk of rows [row, row + R) to the stripe that starts at `column`.
template <int R, int V>
FURIOSA_INLINE void tile(const PanelBlock& block, const avx2::Finisher& finish, size_t row,
                         size_t column, const Chunk& chunk, size_t units, Rows* rows) {
  __m256i sums[R][V];
  if (chunk.first == 0) {
    avx2::start<R, V>(block, row, column, sums);
  } else {
    FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
      avx2::load_weights<V>(reinterpret_cast<const __m256i*>(rows->sums[r] + column), sums[r]);
    }
  }
  const auto* weights = reinterpret_cast<const __m256i*>(block.panel + units * column * 4) +
                        chunk.first * static_cast<size_t>(V);
  for (size_t unit = 0; unit < chunk.units; ++unit, weights += V) {
    __m256i held[V];
    avx2::load_weights<V>(weights, held);
    FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
      const auto* from = reinterpret_cast<const uint8_t*>(rows->widened[r] + 2 * unit);
      const __m256i words = _mm256_set1_epi32(avx2::load_word<int32_t>(from));
      avx2::multiply<Words, R, V>(held, r, words, sums);
    }
  }
  if (chunk.last) return finish.store<R, V>(row, column, sums);
  FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(rows->sums[r] + column) + v, sums[r][v]);
    }
  }
}

size_t units_of(size_t taps, size_t depth) { return (taps * depth + 1) / 2; }

// Computes rows [row, row + R); kNarrow where the last stripe has one vector.
template <int R, bool kNarrow>
void run_rows(const PanelBlock& block, const avx2::Finisher& finish, size_t row, Rows* rows) {
  const size_t units = units_of(block.taps, block.depth);
  const size_t wide = kNarrow ? block.columns / avx2::kStripe * avx2::kStripe : block.columns;
  Chunk chunk{0, 0, false};
  for (Cursor cursor; !chunk.last; chunk.first += chunk.units) {
    chunk.units = widen_rows(block, row, R, &cursor, rows);
    chunk.last = cursor.tap == block.taps;
    for (size_t column = 0; column < wide; column += avx2::kStripe) {
      tile<R, 2>(block, finish, row, column, chunk, units, rows);
    }
    if constexpr (kNarrow) tile<R, 1>(block, finish, row, wide, chunk, units, rows);
  }
}

void run(const PanelBlock& block) {
  const avx2::Finisher finish(block);
  Rows rows;
  const size_t rest = block.columns % avx2::kStripe;
  if (rest >= 1 && rest <= 8) {
    for (size_t row = 0; row < block.row_count; row += 4) {
      run_rows<4, true>(block, finish, row, &rows);
    }
    return;
  }
  avx2::for_tiles<2, 3>(block.row_count, [&](size_t row, size_t steps) {
    steps == 3   ? run_rows<6, false>(block, finish, row, &rows)
    : steps == 2 ? run_rows<4, false>(block, finish, row, &rows)
                 : run_rows<2, false>(block, finish, row, &rows);
  });
}

size_t panel_size(size_t taps, size_t depth, size_t columns) {
  return avx2::gemm_panel_size(units_of(taps, depth), columns);
}

void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  avx2::pack_gemm<Words>(source, false, panel, column_sums);
}

}  // namespace

const PanelKernels gemm_avx2 = {"gemm_avx2", panel_size, pack, avx2::gemm_slot, run};

}  // namespace furiosa::kernels
