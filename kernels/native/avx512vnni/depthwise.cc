// depthwise_avx512vnni: 64 channels at a time. The bytes of four taps are interleaved, so that one
// vpdpbusd adds four products to each of 16 channels. Panel: [tap / 4][V] vectors of 16 channels
// (in slot order) by 4 taps; taps that are not there are zero.

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/vnni.h"
#include "kernels/native/gemm.h"

namespace furiosa::kernels {
namespace {

using avx512vnni::Finish;

// Pixels that share one load of the weights.
constexpr int kPixels = 2;

// Computes rows [row, row + kRows) of a block.
template <int kRows, bool kWhole, Finish kFinish>
void pixels(const PanelBlock& block, size_t row) {
  const __mmask64 mask = avx512vnni::column_mask(block.columns);
  __m512i accumulators[kRows][4];
  FURIOSA_UNROLL for (int r = 0; r < kRows; ++r) {
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      accumulators[r][v] = _mm512_load_si512(block.scales->bias + 16 * v);
    }
  }
  const auto* weights = reinterpret_cast<const __m512i*>(block.panel);
  for (size_t tap = 0; tap < block.taps; tap += 4, weights += 4) {
    FURIOSA_UNROLL for (int r = 0; r < kRows; ++r) {
      __m512i taps[4], fours[4];
      FURIOSA_UNROLL for (size_t i = 0; i < 4; ++i) {
        // Weights of taps that are not there are zero, so any pixel will do.
        const size_t own = tap + i < block.taps ? tap + i : tap;
        const uint8_t* from =
            block.rows[own * block.row_pitch + row + static_cast<size_t>(r)] + block.row_offset;
        taps[i] = kWhole ? _mm512_loadu_si512(from) : _mm512_maskz_loadu_epi8(mask, from);
      }
      avx512vnni::interleave(taps, fours);
      FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
        avx512vnni::dot(accumulators[r][v], fours[v], weights + v);
      }
    }
  }
  const avx512vnni::Finisher<4, kFinish> finish(block);
  FURIOSA_UNROLL for (int r = 0; r < kRows; ++r) {
    finish(row + static_cast<size_t>(r), accumulators[r]);
  }
}

template <bool kWhole, Finish kFinish>
void run_pixels(const PanelBlock& block) {
  size_t row = 0;
  for (; row + kPixels <= block.row_count; row += kPixels)
    pixels<kPixels, kWhole, kFinish>(block, row);
  for (; row < block.row_count; ++row) pixels<1, kWhole, kFinish>(block, row);
}

void run(const PanelBlock& block) {
  const bool whole = block.columns == kPanelColumns;
  if (avx512vnni::finish_of(*block.epilogue) == Finish::kPlain) {
    whole ? run_pixels<true, Finish::kPlain>(block) : run_pixels<false, Finish::kPlain>(block);
  } else {
    whole ? run_pixels<true, Finish::kAny>(block) : run_pixels<false, Finish::kAny>(block);
  }
}

size_t panel_size(size_t taps, size_t, size_t) { return (taps + 3) / 4 * 4 * kPanelColumns; }

size_t slot(size_t column, size_t) { return avx512vnni::slot_of(column, 4); }

void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  std::memset(panel, 0, panel_size(source.taps, 1, source.columns));
  for (size_t column = 0; column < source.columns; ++column) {
    const uint8_t* from = source.data + static_cast<ptrdiff_t>(column) * source.column_stride;
    uint32_t sum = 0;
    for (size_t tap = 0; tap < source.taps; ++tap, from += source.tap_stride) {
      const uint8_t weight = *from ^ source.flip;
      panel[tap / 4 * 4 * kPanelColumns + 4 * slot(column, source.columns) + tap % 4] = weight;
      sum += static_cast<uint32_t>(static_cast<int8_t>(weight));
    }
    if (column_sums != nullptr) column_sums[column] = static_cast<int32_t>(sum);
  }
}

}  // namespace

const PanelKernels depthwise_avx512vnni = {"depthwise_avx512vnni", panel_size, pack, slot, run};

}  // namespace furiosa::kernels
