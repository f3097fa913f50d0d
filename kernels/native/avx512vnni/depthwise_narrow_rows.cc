// Depthwise rows of windows three columns wide, of 16 channels without gaps: neighbouring pixels of
// one group of rows fill a vector, so that nothing is gathered from several groups.

#include "kernels/native/avx512vnni/depthwise_rows.h"

namespace furiosa::kernels::avx512vnni {
namespace {

constexpr ptrdiff_t kChannels = 16;
constexpr ptrdiff_t kPixels = 4;  // of a vector

// The rows of one group. Each vector of pixels is loaded and interleaved once, as the middle
// columns of its windows; the others are made of it and its neighbours.
template <bool kTable>
struct NarrowStrip {
  const __m512i zero_point;
  const __m512i outside;
  const ptrdiff_t input_width;
  const uint8_t* const table;
  const uint8_t* from[4];
  ptrdiff_t steps[4];
  ptrdiff_t at = 0;  // the next column of the image
  Four bias;
  __m512 multiplier[4];
  Four window[3];
  Four next;

  FURIOSA_INLINE NarrowStrip(const DepthwiseRows& rows, size_t part)
      : zero_point(_mm512_set1_epi16(rows.epilogue->y_zero_point)),
        outside(_mm512_set1_epi8(static_cast<char>(*rows.outside))),
        input_width(rows.input_width),
        table(rows.epilogue->table) {
    FURIOSA_UNROLL for (int i = 0; i < 4; ++i) {
      from[i] = rows.lines[part][i].start;
      steps[i] = rows.lines[part][i].step * kPixels;
    }
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      bias[v] = _mm512_load_si512(rows.scales->bias + 16 * v);
      multiplier[v] = _mm512_load_ps(rows.scales->multiplier + 16 * v);
      window[1][v] = outside;
    }
    load_next();
  }

  FURIOSA_INLINE void load_next() {
    const ptrdiff_t left = input_width - at;
    __m512i pixels[4];
    if (left >= kPixels) {
      FURIOSA_UNROLL for (int i = 0; i < 4; ++i) pixels[i] = _mm512_loadu_si512(from[i]);
    } else {
      const __mmask64 mask = column_mask(left > 0 ? static_cast<size_t>(left * kChannels) : 0);
      FURIOSA_UNROLL for (int i = 0; i < 4; ++i) {
        pixels[i] = _mm512_mask_loadu_epi8(outside, mask, from[i]);
      }
    }
    interleave(pixels, next);
    FURIOSA_UNROLL for (int i = 0; i < 4; ++i) from[i] += steps[i];
    at += kPixels;
  }

  // Goes on to the windows of the next pixels.
  FURIOSA_INLINE void advance() {
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      window[0][v] = _mm512_alignr_epi32(next[v], window[1][v], 12);
      window[1][v] = next[v];
    }
    load_next();
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      window[2][v] = _mm512_alignr_epi32(next[v], window[1][v], 4);
    }
  }

  // The bytes of the pixels of the row with these weights.
  FURIOSA_INLINE __m512i pixels(const Four* weights) const {
    Four sums;
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      sums[v] = bias[v];
      FURIOSA_UNROLL for (int kx = 0; kx < 3; ++kx) dot(sums[v], window[kx][v], &weights[kx][v]);
    }
    return requantise<kTable>(sums, multiplier, zero_point, table);
  }
};

template <bool kTable>
void run_group(const DepthwiseRows& rows, size_t part) {
  size_t there = rows.rows;
  while (there > 0 && rows.y[part][there - 1] == nullptr) --there;
  if (there == 0) return;
  NarrowStrip<kTable> strip(rows, part);
  for (ptrdiff_t p = 0; p < rows.width; p += kPixels) {
    strip.advance();
    const bool whole = p + kPixels <= rows.width;
    const auto left = static_cast<size_t>((rows.width - p) * kChannels);
    const auto* weights = reinterpret_cast<const Four*>(rows.panel);
    for (size_t row = 0; row < there; ++row, weights += 3) {
      uint8_t* to = rows.y[part][row] + p * kChannels;
      store_part(to, whole, column_mask(left), strip.pixels(weights));
    }
  }
}

}  // namespace

bool run_narrow(const DepthwiseRows& rows) {
  const Finish finish = finish_of(*rows.epilogue);
  if (finish != Finish::kPlain && finish != Finish::kTable) return false;
  if (!rows.gapless || rows.columns != kChannels || rows.pad != 1 || rows.width < kPixels) {
    return false;
  }
  for (size_t part = 0; part < rows.parts; ++part) {
    finish == Finish::kTable ? run_group<true>(rows, part) : run_group<false>(rows, part);
  }
  return true;
}

}  // namespace furiosa::kernels::avx512vnni
