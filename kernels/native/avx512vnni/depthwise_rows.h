#ifndef FURIOSA_KERNELS_NATIVE_AVX512VNNI_DEPTHWISE_ROWS_H_
#define FURIOSA_KERNELS_NATIVE_AVX512VNNI_DEPTHWISE_ROWS_H_

// What kernels for depthwise rows share. The four lines of a column of the input are interleaved
// once, so that one vpdpbusd adds four of a window's taps to each of 16 channels: what is next to
// the taps of one output row is next to those of the rows below it, too.

#include <immintrin.h>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/vnni.h"
#include "kernels/native/depthwise.h"

namespace furiosa::kernels::avx512vnni {

// The kernel for windows of up to eight lines by five columns, or nullptr.
DepthwiseRowKernel five_wide_kernel(int64_t stride_w);

// Computes rows of windows of up to four lines by three columns, of stride 1, where they have 16
// channels without gaps, a pad of 1 and an epilogue that is plain or ends in a table. Otherwise
// does nothing and returns false.
bool run_narrow(const DepthwiseRows& rows);

namespace {

// Fetches `count` vectors.
FURIOSA_INLINE void fetch(const uint8_t* from, size_t count) {
  if (from == nullptr) return;
  for (size_t i = 0; i < count; ++i) _mm_prefetch(from + 64 * i, _MM_HINT_T0);
}

// How many rows some part has.
FURIOSA_INLINE size_t rows_there(const DepthwiseRows& rows) {
  for (size_t count = rows.rows; count > 0; --count) {
    for (size_t part = 0; part < rows.parts; ++part) {
      if (rows.y[part][count - 1] != nullptr) return count;
    }
  }
  return 0;
}

// Four vectors of 16 channels by four lines: one column of the input, or its weights.
using Four = __m512i[4];

// The table of a channel is that of its place within a part.
FURIOSA_INLINE __m512i look_up(const uint8_t* table, size_t stride, const DepthwiseRows& rows,
                               __m512i bytes) {
  if (table == nullptr) return bytes;
  if (stride == 0) return avx512vnni::look_up(table, bytes);
  alignas(64) uint8_t columns[64];
  _mm512_store_si512(columns, bytes);
  const size_t part = 64 / rows.parts;
  for (size_t c = 0; c < 64; ++c) {
    if (c % part >= rows.columns) continue;
    columns[c] = table[(rows.first_column + c % part) * stride + columns[c]];
  }
  return _mm512_load_si512(columns);
}

// The residual of a pixel, or anything where a part does not have the row.
FURIOSA_INLINE __m512i load_residual(const DepthwiseRows& rows, size_t row, ptrdiff_t pixel) {
  const __mmask64 mask = column_mask(rows.columns);
  alignas(64) uint8_t bytes[64] = {};
  for (size_t part = 0; part < rows.parts; ++part) {
    if (rows.y[part][row] == nullptr) continue;
    const uint8_t* from = rows.residual[part][row] + pixel * rows.residual_step;
    _mm512_mask_storeu_epi8(bytes + part * (64 / rows.parts), mask,
                            _mm512_maskz_loadu_epi8(mask, from));
  }
  return _mm512_load_si512(bytes);
}

// Takes requantised pixels [first, first + count) through all that an epilogue may have.
[[maybe_unused]] void finish_any(const DepthwiseRows& rows, size_t row, ptrdiff_t first,
                                 ptrdiff_t count, __m512i* pixels) {
  const Epilogue& epilogue = *rows.epilogue;
  for (ptrdiff_t p = 0; p < count; ++p) {
    __m512i bytes = look_up(epilogue.table, epilogue.table_stride, rows, pixels[p]);
    if (epilogue.add_residual) {
      const __m512i residual = load_residual(rows, row, first + p);
      bytes = Adder(epilogue).template operator()<4>(bytes, residual);
      bytes = look_up(epilogue.residual_table, epilogue.residual_table_stride, rows, bytes);
    }
    pixels[p] = bytes;
  }
}

// The bytes of 16 * 4 sums.
template <bool kTable>
FURIOSA_INLINE __m512i requantise(const __m512i (&sums)[4], const __m512 (&multiplier)[4],
                                  __m512i zero_point, const uint8_t* table) {
  __m512 values[4];
  FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
    values[v] = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[v]), multiplier[v]);
  }
  const __m512i bytes = round_to_bytes<4>(values, zero_point);
  return kTable ? look_up(table, bytes) : bytes;
}

}  // namespace
}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_DEPTHWISE_ROWS_H_
