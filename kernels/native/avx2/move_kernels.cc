// Moving bytes: transposes and short rows.

#include <immintrin.h>

#include "kernels/native/vector_kernels.h"

namespace furiosa::kernels::avx2 {
namespace {

// One round of a perfect shuffle of 16 rows; four of them transpose 16x16 bytes.
inline void interleave(const __m128i from[16], __m128i to[16]) {
  for (int i = 0; i < 8; ++i) {
    to[2 * i] = _mm_unpacklo_epi8(from[i], from[i + 8]);
    to[2 * i + 1] = _mm_unpackhi_epi8(from[i], from[i + 8]);
  }
}

inline void transpose_tile(__m128i tile[16]) {
  __m128i other[16];
  interleave(tile, other);
  interleave(other, tile);
  interleave(tile, other);
  interleave(other, tile);
}

// 16 bytes of each of `columns` columns, and zeros for the others.
inline void load_tile(const uint8_t* x, ptrdiff_t x_stride, size_t columns, __m128i tile[16]) {
  for (size_t c = 0; c < 16; ++c) {
    tile[c] = c < columns ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(
                                x + static_cast<ptrdiff_t>(c) * x_stride))
                          : _mm_setzero_si128();
  }
}

// Writes `columns` bytes of 16 rows; of the first `wide` ones 16 bytes, which spills over what
// comes after.
inline void store_tile(const __m128i tile[16], uint8_t* y, ptrdiff_t y_stride, size_t columns,
                       size_t wide) {
  for (size_t r = 0; r < 16; ++r, y += y_stride) {
    if (r < wide) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y), tile[r]);
    } else {
      alignas(16) uint8_t row[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(row), tile[r]);
      __builtin_memcpy(y, row, columns);
    }
  }
}

// Less than 16 rows. Where the columns of `x` lie one after the other, 16 bytes of each are read:
// what follows the last rows is read again as the next columns.
void transpose_few_rows(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride,
                        size_t rows, size_t columns) {
  size_t c = 0;
  if (x_stride == static_cast<ptrdiff_t>(rows)) {
    for (; (c + 15) * rows + 16 <= columns * rows; c += 16) {
      __m128i tile[16];
      load_tile(x + c * rows, x_stride, 16, tile);
      transpose_tile(tile);
      for (size_t r = 0; r < rows; ++r) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y + static_cast<ptrdiff_t>(r) * y_stride + c),
                         tile[r]);
      }
    }
  }
  for (size_t r = 0; r < rows; ++r, y += y_stride) {
    for (size_t k = c; k < columns; ++k) y[k] = x[static_cast<ptrdiff_t>(k) * x_stride + r];
  }
}

// Copies kVectors times 32 bytes from both ends, which may meet or overlap.
template <size_t kVectors>
inline void copy_ends(const uint8_t* x, uint8_t* y, size_t count) {
  __m256i head[kVectors], tail[kVectors];
  for (size_t i = 0; i < kVectors; ++i) {
    head[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 32 * i));
    tail[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + count - 32 * (i + 1)));
  }
  for (size_t i = 0; i < kVectors; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + 32 * i), head[i]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + count - 32 * (i + 1)), tail[i]);
  }
}

// Copies bytes, without a call where they are few. The operands of a Program may overlap, so that
// everything is read before anything is written.
inline void copy(const uint8_t* x, uint8_t* y, size_t count) {
  if (count > 256) {
    __builtin_memmove(y, x, count);
  } else if (count > 128) {
    copy_ends<4>(x, y, count);
  } else if (count > 64) {
    copy_ends<2>(x, y, count);
  } else if (count >= 32) {
    copy_ends<1>(x, y, count);
  } else if (count >= 16) {
    const __m128i head = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
    const __m128i tail = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + count - 16));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), head);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + count - 16), tail);
  } else if (count >= 4) {
    uint32_t parts[4];
    const size_t middle = count / 8 * 4;  // 0 for 4 to 7 bytes, otherwise 4
    __builtin_memcpy(&parts[0], x, 4);
    __builtin_memcpy(&parts[1], x + middle, 4);
    __builtin_memcpy(&parts[2], x + count - 4 - middle, 4);
    __builtin_memcpy(&parts[3], x + count - 4, 4);
    __builtin_memcpy(y, &parts[0], 4);
    __builtin_memcpy(y + middle, &parts[1], 4);
    __builtin_memcpy(y + count - 4 - middle, &parts[2], 4);
    __builtin_memcpy(y + count - 4, &parts[3], 4);
  } else {
    for (size_t i = 0; i < count; ++i) y[i] = x[i];
  }
}

}  // namespace

void transpose(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride, size_t rows,
               size_t columns) {
  if (rows < 16) {
    transpose_few_rows(x, x_stride, y, y_stride, rows, columns);
    return;
  }
  // Rows that lie one after the other may be written beyond their end, except the last ones: the
  // next row follows. Only few columns need it; the others are whole tiles but for an overlap.
  const bool packed = y_stride == static_cast<ptrdiff_t>(columns) && columns < 16;
  const size_t spill = packed ? (16 + columns - 1) / columns - 1 : 0;  // rows after a wide one
  size_t r = 0;
  for (; r + 16 <= rows; r += 16) {
    uint8_t* to = y + static_cast<ptrdiff_t>(r) * y_stride;
    if (columns < 16) {
      const size_t safe = packed && rows - r > spill ? rows - r - spill : 0;
      __m128i tile[16];
      load_tile(x + r, x_stride, columns, tile);
      transpose_tile(tile);
      store_tile(tile, to, y_stride, columns, safe);
      continue;
    }
    for (size_t c = 0; c < columns; c += 16) {
      const size_t from = c + 16 <= columns ? c : columns - 16;  // the last tile may overlap
      __m128i tile[16];
      load_tile(x + static_cast<ptrdiff_t>(from) * x_stride + r, x_stride, 16, tile);
      transpose_tile(tile);
      store_tile(tile, to + from, y_stride, 16, 16);
    }
  }
  if (r < rows) {
    const size_t from = rows - 16;
    transpose(x + from, x_stride, y + static_cast<ptrdiff_t>(from) * y_stride, y_stride, 16,
              columns);
  }
}

void copy_rows(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride, size_t rows,
               size_t count) {
  for (size_t r = 0; r < rows; ++r, x += x_stride, y += y_stride) copy(x, y, count);
}

void gather_rows(const uint8_t* x, ptrdiff_t stride, const int32_t* indices, size_t rows,
                 uint8_t* y, ptrdiff_t y_stride, size_t count) {
  for (size_t r = 0; r < rows; ++r, y += y_stride) copy(x + indices[r] * stride, y, count);
}

}  // namespace furiosa::kernels::avx2
