#ifndef FURIOSA_KERNELS_NATIVE_AVX2_DEPTHWISE_PANEL_H_
#define FURIOSA_KERNELS_NATIVE_AVX2_DEPTHWISE_PANEL_H_

// What the depthwise kernels of AVX2 and AVX-VNNI share. A unit is kUnit taps of a channel; the
// lines of as many taps are interleaved, 32 channels at a time. A panel has two halves of 32
// channels, each [unit][4] vectors of 8 channels (in slot order) by kUnit weights; taps that are
// not there are zero.

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx2/epilogue.h"
#include "kernels/native/gemm.h"

namespace furiosa::kernels::avx2 {
namespace {

constexpr size_t kHalf = 32;

size_t depthwise_slot(size_t column, size_t) {
  return column / kHalf * kHalf + slot_of(column % kHalf, 4);
}

template <class Units>
size_t depthwise_units(size_t taps) {
  return (taps + Units::kUnit - 1) / Units::kUnit;
}

template <class Units>
size_t depthwise_panel_size(size_t taps, size_t, size_t) {
  return depthwise_units<Units>(taps) * kPanelColumns * 4;
}

template <class Units>
void pack_depthwise(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  constexpr size_t kUnit = Units::kUnit;
  std::memset(panel, 0, depthwise_panel_size<Units>(source.taps, 1, source.columns));
  for (size_t column = 0; column < source.columns; ++column) {
    const uint8_t* from = source.data + static_cast<ptrdiff_t>(column) * source.column_stride;
    const size_t half = column / kHalf * depthwise_units<Units>(source.taps);
    auto* to = reinterpret_cast<typename Units::Weight*>(panel + half * kHalf * 4) +
               slot_of(column % kHalf, 4) * kUnit;
    uint32_t sum = 0;
    for (size_t tap = 0; tap < source.taps; ++tap, from += source.tap_stride) {
      const auto weight = static_cast<int8_t>(*from ^ source.flip);
      to[tap / kUnit * kUnit * kHalf + tap % kUnit] = weight;
      sum += static_cast<uint32_t>(weight);
    }
    if (column_sums != nullptr) column_sums[column] = static_cast<int32_t>(sum);
  }
}

template <class Units>
FURIOSA_INLINE void half_row(const PanelBlock& block, const Finisher& finish, size_t row,
                             size_t column) {
  constexpr size_t kUnit = Units::kUnit;
  const size_t left = block.columns - column;
  const auto* bias = reinterpret_cast<const __m256i*>(block.scales->bias + column);
  const auto* weights = reinterpret_cast<const __m256i*>(block.panel) +
                        column / kHalf * depthwise_units<Units>(block.taps) * 4;
  __m256i sums[1][4];
  FURIOSA_UNROLL for (int v = 0; v < 4; ++v) sums[0][v] = _mm256_load_si256(bias + v);
  for (size_t tap = 0; tap < block.taps; tap += kUnit, weights += 4) {
    __m256i lines[kUnit], low[2], high[2];
    FURIOSA_UNROLL for (size_t i = 0; i < kUnit; ++i) {
      // The weights of taps that are not there are zero, so any pixel will do.
      const size_t own = tap + i < block.taps ? tap + i : tap;
      const uint8_t* from = block.rows[own * block.row_pitch + row] + block.row_offset + column;
      lines[i] = load_parts<1>(&from, left);
    }
    Units::template interleave<false>(lines, low);
    Units::template interleave<true>(lines, high);
    FURIOSA_UNROLL for (int v = 0; v < 2; ++v) {
      Units::dot(sums[0][v], low[v], weights, v);
      Units::dot(sums[0][2 + v], high[v], weights, 2 + v);
    }
  }
  finish.store<1, 4>(row, column, sums);
}

template <class Units>
void run_depthwise(const PanelBlock& block) {
  const Finisher finish(block);
  for (size_t row = 0; row < block.row_count; ++row) {
    for (size_t column = 0; column < block.columns; column += kHalf) {
      half_row<Units>(block, finish, row, column);
    }
  }
}

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_DEPTHWISE_PANEL_H_
