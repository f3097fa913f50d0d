#ifndef FURIOSA_KERNELS_NATIVE_AVX2_GEMM_PANEL_H_
#define FURIOSA_KERNELS_NATIVE_AVX2_GEMM_PANEL_H_

// What the matrix products of AVX2 and AVX-VNNI share. A unit is 32 bits of a row: four channels,
// or two that are widened. It is broadcast and multiplied by a vector of as many weights of each of
// eight columns. `Units` says how: kUnit channels, weights of the type Weight, and dot(), which
// adds the products of a unit to accumulators.
//
// A panel is made of stripes of 16 columns (V = 2 vectors); the last one has 8 (V = 1) where that
// is enough. A stripe is [unit][V] vectors of 8 columns (in slot order); channels that are not
// there are zero.

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx2/epilogue.h"
#include "kernels/native/gemm.h"

namespace furiosa::kernels::avx2 {
namespace {

constexpr size_t kStripe = 16;

// Vectors of the stripe that starts at `column` of `columns`.
FURIOSA_INLINE size_t stripe_vectors(size_t column, size_t columns) {
  return columns - column <= 8 ? 1 : 2;
}

size_t gemm_slot(size_t column, size_t columns) {
  const size_t first = column / kStripe * kStripe;
  return first + slot_of(column - first, stripe_vectors(first, columns));
}

// Bytes of a panel whose columns have `units` units each.
size_t gemm_panel_size(size_t units, size_t columns) { return units * (columns + 7) / 8 * 32; }

// Packs a panel; the units of a tap are its own where `tap_units`, otherwise taps share them.
template <class Units>
void pack_gemm(const PanelSource& source, bool tap_units, uint8_t* panel, int32_t* column_sums) {
  using Weight = typename Units::Weight;
  constexpr size_t kUnit = Units::kUnit;
  const size_t tap_places =
      tap_units ? (source.depth + kUnit - 1) / kUnit * kUnit : source.depth;  // channels
  const size_t units = (source.taps * tap_places + kUnit - 1) / kUnit;
  std::memset(panel, 0, gemm_panel_size(units, source.columns));
  for (size_t column = 0; column < source.columns; ++column) {
    const size_t first = column / kStripe * kStripe;
    const size_t width = 8 * stripe_vectors(first, source.columns);
    auto* to = reinterpret_cast<Weight*>(panel + units * first * 4) +
               slot_of(column - first, width / 8) * kUnit;
    uint32_t sum = 0;
    for (size_t tap = 0; tap < source.taps; ++tap) {
      const uint8_t* from = source.data + static_cast<ptrdiff_t>(tap) * source.tap_stride +
                            static_cast<ptrdiff_t>(column) * source.column_stride;
      size_t place = tap * tap_places;
      for (size_t channel = 0; channel < source.depth; ++channel, ++place) {
        const auto weight = static_cast<int8_t>(*from ^ source.flip);
        from += source.channel_stride;
        to[place / kUnit * kUnit * width + place % kUnit] = static_cast<Weight>(weight);
        sum += static_cast<uint32_t>(weight);
      }
    }
    if (column_sums != nullptr) column_sums[column] = static_cast<int32_t>(sum);
  }
}

// What the accumulators of rows [row, row + R) start with.
template <int R, int V>
FURIOSA_INLINE void start(const PanelBlock& block, size_t row, size_t column,
                          __m256i (&sums)[R][V]) {
  const auto* bias = reinterpret_cast<const __m256i*>(block.scales->bias + column);
  FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) sums[r][v] = _mm256_load_si256(bias + v);
  }
  if (block.row_bias == nullptr) return;
  FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
    const __m256i own = _mm256_set1_epi32(block.row_bias[row + static_cast<size_t>(r)]);
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) sums[r][v] = _mm256_add_epi32(sums[r][v], own);
  }
}

// Adds the products of one unit of each row.
template <class Units, int R, int V>
FURIOSA_INLINE void multiply(const __m256i (&held)[V], int r, __m256i unit, __m256i (&sums)[R][V]) {
  FURIOSA_UNROLL for (int v = 0; v < V; ++v) Units::dot(sums[r][v], unit, held[v]);
}

// Bytes ahead of the multiplication from which weights are fetched into the first cache.
constexpr size_t kPrefetch = 1024;

template <int V>
FURIOSA_INLINE void load_weights(const __m256i* weights, __m256i (&held)[V]) {
  _mm_prefetch(reinterpret_cast<const char*>(weights) + kPrefetch, _MM_HINT_T0);
  FURIOSA_UNROLL for (int v = 0; v < V; ++v) held[v] = _mm256_load_si256(weights + v);
}

// Calls run(row, steps) for tiles of equal height, steps * kStep rows, of at most kMost steps.
template <size_t kStep, size_t kMost, class Run>
FURIOSA_INLINE void for_tiles(size_t rows, Run run) {
  for (size_t row = 0; row < rows;) {
    const size_t left = (rows - row + kStep - 1) / kStep, tiles = (left + kMost - 1) / kMost;
    const size_t steps = (left + tiles - 1) / tiles;
    run(row, steps);
    row += steps * kStep;
  }
}

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_GEMM_PANEL_H_
