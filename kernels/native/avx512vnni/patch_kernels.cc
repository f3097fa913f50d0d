#include "kernels/native/patch_kernels.h"

#include <immintrin.h>

#include "kernels/native/avx512vnni/quantizer.h"
#include "kernels/native/avx512vnni/transpose.h"

namespace furiosa::kernels {
namespace {

using namespace avx512vnni;
static_assert(kLanePixels == kTileRows);

void to_lanes(const PixelsToLanes& p) {
  const __m512 scale = _mm512_set1_ps(p.scale);
  const __m512 zero = _mm512_set1_ps(static_cast<float>(p.zero_point));
  for (size_t first = 0; first < p.channels; first += kTileColumns) {
    const size_t channels = p.channels - first;
    __m512i tile[16];
    load_tile(p.x + first, p.pixel_stride, p.pixels, channels, tile);
    transpose_tile(tile);
    alignas(64) uint8_t bytes[kTileColumns][kLanePixels];
    for (size_t c = 0; c < kTileColumns; ++c) _mm512_store_si512(bytes[c], tile[c]);
    float* y = p.y + first * kLanePixels;
    for (size_t c = 0; c < kTileColumns && c < channels; ++c, y += kLanePixels) {
      for (size_t i = 0; i < kLanePixels; i += 16) {
        const __m128i part = _mm_load_si128(reinterpret_cast<const __m128i*>(bytes[c] + i));
        const __m512 value = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(part));
        _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_sub_ps(value, zero), scale));
      }
    }
  }
}

// The bytes of one row.
struct ByteRow {
  explicit ByteRow(const LanesToPixels& lanes)
      : p(lanes), quantizer(lanes.scale, lanes.zero_point) {}

  __m512i operator()(size_t row) const {
    const size_t channel = row % p.channels;
    const float* x = p.x + row * kLanePixels;
    __m512 sums[4];
    for (int k = 0; k < 4; ++k) sums[k] = _mm512_loadu_ps(x + 16 * k);
    if (p.bias != nullptr) {
      const __m512 bias = _mm512_set1_ps(p.bias[channel]);
      for (int k = 0; k < 4; ++k) sums[k] = _mm512_add_ps(sums[k], bias);
    }
    const __m512i bytes = quantizer(sums);
    return p.tables == nullptr ? bytes : look_up(bytes, p.tables + channel * p.table_stride);
  }

  const LanesToPixels& p;
  Quantizer quantizer;
};

void to_pixels(const LanesToPixels& p) {
  const ByteRow row(p);
  if (p.rows == 1) {
    _mm512_mask_storeu_epi8(p.y, first_of_64(p.pixels), row(0));
    return;
  }
  if (p.rows == 2) {
    const __m512i even = row(0), odd = row(1);
    const __m512i low = _mm512_unpacklo_epi8(even, odd), high = _mm512_unpackhi_epi8(even, odd);
    const __m512i head = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i tail = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const size_t bytes = 2 * p.pixels;
    _mm512_mask_storeu_epi8(p.y, first_of_64(bytes), _mm512_permutex2var_epi64(low, head, high));
    if (bytes <= 64) return;
    _mm512_mask_storeu_epi8(p.y + 64, first_of_64(bytes - 64),
                            _mm512_permutex2var_epi64(low, tail, high));
    return;
  }
  for (size_t first = 0; first < p.rows; first += kTileColumns) {
    const size_t rows = p.rows - first;
    __m512i tile[16];
    for (size_t r = 0; r < kTileColumns; ++r) {
      tile[r] = r < rows ? row(first + r) : _mm512_setzero_si512();
    }
    transpose_tile(tile);
    store_tile(tile, p.pixels, rows, p.y + first, static_cast<ptrdiff_t>(p.rows));
  }
}

}  // namespace

const PatchKernels kAvx512VnniPatchKernels = {
    .for_many = true, .to_lanes = to_lanes, .to_pixels = to_pixels};

}  // namespace furiosa::kernels
