// gemm_avxvnni: tiles of R rows by 8 * V columns in registers. Units are four channels of a tap.

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx2/gemm_panel.h"
#include "kernels/native/avxvnni/vnni.h"

namespace furiosa::kernels {
namespace {

using avxvnni::Bytes;

size_t units_of(size_t taps, size_t depth) { return taps * ((depth + 3) / 4); }

// The last depth % 4 bytes of a row of `depth`, without a look behind them.
FURIOSA_INLINE __m256i last_unit(const uint8_t* from, size_t depth) {
  const size_t rest = depth % 4;
  uint32_t word;
  if (depth > 4) {
    word = avx2::load_word<uint32_t>(from + depth - 4) >> (8 * (4 - rest));
  } else {
    const size_t middle = rest / 2, end = rest - 1;
    word = static_cast<uint32_t>(from[0] | from[middle] << (8 * middle) | from[end] << (8 * end));
  }
  return _mm256_set1_epi32(static_cast<int32_t>(word));
}

// Computes rows [row, row + R) of the stripe that starts at `column`.
template <int R, int V>
void tile(const PanelBlock& block, const avx2::Finisher& finish, size_t row, size_t column) {
  __m256i sums[R][V];
  avx2::start<R, V>(block, row, column, sums);
  const auto* weights = reinterpret_cast<const __m256i*>(
      block.panel + units_of(block.taps, block.depth) * column * 4);
  const ptrdiff_t whole = static_cast<ptrdiff_t>(block.depth / 4 * 4) + block.row_offset;
  const uint8_t* const* rows = block.rows + row;
  __m256i held[V];
  for (size_t tap = 0; tap < block.taps; ++tap, rows += block.row_pitch) {
    for (ptrdiff_t channel = block.row_offset; channel < whole; channel += 4, weights += V) {
      avx2::load_weights<V>(weights, held);
      FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
        const __m256i unit = _mm256_set1_epi32(avx2::load_word<int32_t>(rows[r] + channel));
        avx2::multiply<Bytes, R, V>(held, r, unit, sums);
      }
    }
    if (block.depth % 4 != 0) {
      avx2::load_weights<V>(weights, held);
      weights += V;
      FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
        const __m256i unit = last_unit(rows[r] + block.row_offset, block.depth);
        avx2::multiply<Bytes, R, V>(held, r, unit, sums);
      }
    }
  }
  finish.store<R, V>(row, column, sums);
}

void run(const PanelBlock& block) {
  const avx2::Finisher finish(block);
  for (size_t column = 0; column < block.columns; column += avx2::kStripe) {
    if (avx2::stripe_vectors(column, block.columns) == 1) {
      avx2::for_tiles<4, 2>(block.row_count, [&](size_t row, size_t steps) {
        steps == 2 ? tile<8, 1>(block, finish, row, column)
                   : tile<4, 1>(block, finish, row, column);
      });
    } else {
      avx2::for_tiles<2, 3>(block.row_count, [&](size_t row, size_t steps) {
        steps == 3   ? tile<6, 2>(block, finish, row, column)
        : steps == 2 ? tile<4, 2>(block, finish, row, column)
                     : tile<2, 2>(block, finish, row, column);
      });
    }
  }
}

size_t panel_size(size_t taps, size_t depth, size_t columns) {
  return avx2::gemm_panel_size(units_of(taps, depth), columns);
}

void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  avx2::pack_gemm<Bytes>(source, true, panel, column_sums);
}

}  // namespace

const PanelKernels gemm_avxvnni = {"gemm_avxvnni", panel_size, pack, avx2::gemm_slot, run};

}  // namespace furiosa::kernels
