#include "kernels/native/avx512vnni/transpose.h"

#include <immintrin.h>

#include "kernels/native/vector_kernels.h"

namespace furiosa::kernels::avx512vnni {

void transpose(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride, size_t rows,
               size_t columns) {
  __m512i tile[16];
  if (columns >= rows || columns >= kTileRows) {  // 64 columns of 16 bytes become rows
    for (size_t c = 0; c < columns; c += kTileRows) {
      const __mmask64 mask = first_of_64(columns - c);
      for (size_t r = 0; r < rows; r += kTileColumns) {
        load_tile(x + static_cast<ptrdiff_t>(c) * x_stride + r, x_stride, columns - c, rows - r,
                  tile);
        transpose_tile(tile);
        uint8_t* to = y + static_cast<ptrdiff_t>(r) * y_stride + c;
        for (size_t i = 0; i < kTileColumns && i < rows - r; ++i, to += y_stride) {
          if (columns - c >= 64) {
            _mm512_storeu_si512(to, tile[i]);
          } else {
            _mm512_mask_storeu_epi8(to, mask, tile[i]);
          }
        }
      }
    }
    return;
  }
  for (size_t r = 0; r < rows; r += kTileRows) {  // 16 columns of 64 bytes become rows
    const __mmask64 mask = first_of_64(rows - r);
    for (size_t c = 0; c < columns; c += kTileColumns) {
      const uint8_t* from = x + static_cast<ptrdiff_t>(c) * x_stride + r;
      for (size_t i = 0; i < kTileColumns; ++i, from += x_stride) {
        tile[i] = i >= columns - c ? _mm512_setzero_si512()
                  : rows - r >= 64 ? _mm512_loadu_si512(from)
                                   : _mm512_maskz_loadu_epi8(mask, from);
      }
      transpose_tile(tile);
      store_tile(tile, rows - r, columns - c, y + static_cast<ptrdiff_t>(r) * y_stride + c,
                 y_stride);
    }
  }
}

}  // namespace furiosa::kernels::avx512vnni
