// Depthwise rows of windows three columns wide.

#include "kernels/native/avx512vnni/depthwise_rows.h"

namespace furiosa::kernels {
namespace avx512vnni {
namespace {

// Windows of at most four lines by three columns: the columns of a window stay in registers, and
// each row takes its dots from them.
template <int kStride, int kParts, bool kWhole, bool kTable>
struct Strip {
  static constexpr int kWidth = 3;

  const __mmask64 mask;
  const __m512i zero_point;
  const __m512i outside;
  const ptrdiff_t input_width;
  const uint8_t* const table;
  const uint8_t* from[4][kParts];
  ptrdiff_t steps[4][kParts];
  ptrdiff_t at;  // the next column of the image
  Four bias;
  __m512 multiplier[4];
  Four window[kWidth];

  FURIOSA_INLINE explicit Strip(const DepthwiseRows& rows)
      : mask(column_mask(rows.columns)),
        zero_point(_mm512_set1_epi16(rows.epilogue->y_zero_point)),
        outside(_mm512_set1_epi8(static_cast<char>(*rows.outside))),
        input_width(rows.input_width),
        table(rows.epilogue->table),
        at(-rows.pad) {
    FURIOSA_UNROLL for (int i = 0; i < 4; ++i) {
      FURIOSA_UNROLL for (int part = 0; part < kParts; ++part) {
        from[i][part] = rows.lines[part][i].start;
        steps[i][part] = rows.lines[part][i].step;
      }
    }
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      bias[v] = _mm512_load_si512(rows.scales->bias + 16 * v);
      multiplier[v] = _mm512_load_ps(rows.scales->multiplier + 16 * v);
    }
    FURIOSA_UNROLL for (int kx = kStride; kx < kWidth; ++kx) load_column(window[kx]);
  }

  FURIOSA_INLINE void load_column(Four& column) {
    if (static_cast<size_t>(at++) >= static_cast<size_t>(input_width)) {
      FURIOSA_UNROLL for (int v = 0; v < 4; ++v) column[v] = outside;
      return;
    }
    __m512i lines[4];
    FURIOSA_UNROLL for (int i = 0; i < 4; ++i) {
      lines[i] = load_parts<kParts>(from[i], kWhole, mask);
      FURIOSA_UNROLL for (int part = 0; part < kParts; ++part) from[i][part] += steps[i][part];
    }
    interleave(lines, column);
  }

  // Goes on to the window of the next pixel.
  FURIOSA_INLINE void advance() {
    FURIOSA_UNROLL for (int kx = 0; kx < kWidth; ++kx) {
      if (kx + kStride < kWidth) {
        FURIOSA_UNROLL for (int v = 0; v < 4; ++v) window[kx][v] = window[kx + kStride][v];
      } else {
        load_column(window[kx]);
      }
    }
  }

  // The bytes of the window's pixel of the row with these weights.
  FURIOSA_INLINE __m512i pixel(const Four* weights) const {
    Four sums;
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      sums[v] = bias[v];
      FURIOSA_UNROLL for (int kx = 0; kx < kWidth; ++kx) {
        dot(sums[v], window[kx][v], &weights[kx][v]);
      }
    }
    return requantise<kTable>(sums, multiplier, zero_point, table);
  }

  // Stores the parts that there are.
  FURIOSA_INLINE void store(uint8_t* const* y, ptrdiff_t at, __m512i bytes) const {
    if constexpr (kParts == 1) {
      if (y[0]) store_part(y[0] + at, kWhole, mask, bytes);
    } else if constexpr (kParts == 2) {
      const __m256i upper = _mm512_extracti64x4_epi64(bytes, 1);
      if (y[0]) store_part(y[0] + at, kWhole, mask, _mm512_castsi512_si256(bytes));
      if (y[1]) store_part(y[1] + at, kWhole, mask, upper);
    } else {
      const __m128i second = _mm512_extracti32x4_epi32(bytes, 1);
      const __m128i third = _mm512_extracti32x4_epi32(bytes, 2);
      const __m128i fourth = _mm512_extracti32x4_epi32(bytes, 3);
      if (y[0]) store_part(y[0] + at, kWhole, mask, _mm512_castsi512_si128(bytes));
      if (y[1]) store_part(y[1] + at, kWhole, mask, second);
      if (y[2]) store_part(y[2] + at, kWhole, mask, third);
      if (y[3]) store_part(y[3] + at, kWhole, mask, fourth);
    }
  }
};

template <int kStride, int kParts, bool kWhole, Finish kFinish>
void run_strip(const DepthwiseRows& rows) {
  Strip<kStride, kParts, kWhole, kFinish == Finish::kTable> strip(rows);
  fetch(rows.next_panel, 12 * rows.rows);
  const size_t there = rows_there(rows);
  for (ptrdiff_t p = 0; p < rows.width; ++p) {
    strip.advance();
    const auto* weights = reinterpret_cast<const Four*>(rows.panel);
    for (size_t row = 0; row < there; ++row, weights += 3) {
      __m512i pixel = strip.pixel(weights);
      if constexpr (kFinish == Finish::kAny) finish_any(rows, row, p, 1, &pixel);
      uint8_t* to[kParts];
      FURIOSA_UNROLL for (int part = 0; part < kParts; ++part) to[part] = rows.y[part][row];
      strip.store(to, p * rows.y_step, pixel);
    }
  }
}

template <int kStride, int kParts, bool kWhole>
void run_finish(const DepthwiseRows& rows) {
  switch (finish_of(*rows.epilogue)) {
    case Finish::kPlain:
      return run_strip<kStride, kParts, kWhole, Finish::kPlain>(rows);
    case Finish::kTable:
      return run_strip<kStride, kParts, kWhole, Finish::kTable>(rows);
    default:
      return run_strip<kStride, kParts, kWhole, Finish::kAny>(rows);
  }
}

template <int kStride, int kParts>
void run_part(const DepthwiseRows& rows) {
  rows.columns == 64 / kParts ? run_finish<kStride, kParts, true>(rows)
                              : run_finish<kStride, kParts, false>(rows);
}

template <int kStride>
void run_three(const DepthwiseRows& rows) {
  if (kStride == 1 && run_narrow(rows)) return;
  switch (rows.parts) {
    case 1:
      return run_part<kStride, 1>(rows);
    case 2:
      return run_part<kStride, 2>(rows);
    default:
      return run_part<kStride, 4>(rows);
  }
}

}  // namespace
}  // namespace avx512vnni

DepthwiseRowKernel depthwise_row_kernel_avx512vnni(int64_t kernel_h, int64_t kernel_w,
                                                   int64_t stride_w) {
  const int64_t groups = (kernel_h + 3) / 4;  // as the panel is packed
  if (groups == 1 && kernel_w == 3 && stride_w == 1) return avx512vnni::run_three<1>;
  if (groups == 1 && kernel_w == 3 && stride_w == 2) return avx512vnni::run_three<2>;
  if (groups == 2 && kernel_w == 5) return avx512vnni::five_wide_kernel(stride_w);
  return nullptr;
}

}  // namespace furiosa::kernels
