#include "kernels/native/table_kernels.h"

#include <immintrin.h>

namespace furiosa::kernels::avx512vnni {
namespace {

inline __m512i look_up(__m512i index, __m512i t0, __m512i t1, __m512i t2, __m512i t3) {
  const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
  const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
}

inline __m512i look_up(__m512i index, const uint8_t* table) {
  return look_up(index, _mm512_loadu_si512(table), _mm512_loadu_si512(table + 64),
                 _mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192));
}

constexpr size_t kTileRows = 64;
constexpr size_t kTileColumns = 16;

// One round of a perfect shuffle of 16 rows; four of them transpose 16x16 bytes in each lane.
inline void interleave(const __m512i from[16], __m512i to[16]) {
  for (int i = 0; i < 8; ++i) {
    to[2 * i] = _mm512_unpacklo_epi8(from[i], from[i + 8]);
    to[2 * i + 1] = _mm512_unpackhi_epi8(from[i], from[i + 8]);
  }
}

inline void transpose(__m512i tile[16]) {
  __m512i other[16];
  interleave(tile, other);
  interleave(other, tile);
  interleave(tile, other);
  interleave(other, tile);
}

// Columns [first, first + 16), of which `mask` says which exist, of up to 64 rows from `row` on.
// Lane k of a vector holds one of the rows 16 k to 16 k + 15; transposed, 64 bytes of one column.
void tile_of_columns(const TableLookup& l, size_t row, size_t first, __mmask16 mask) {
  const size_t rows = l.rows - row < kTileRows ? l.rows - row : kTileRows;
  const uint8_t* x = l.x + static_cast<ptrdiff_t>(row) * l.x_stride + first;
  uint8_t* y = l.y + static_cast<ptrdiff_t>(row) * l.y_stride + first;
  const auto load = [&](size_t r) {  // what is missing repeats the last row
    const size_t from = r < rows ? r : rows - 1;
    return _mm_maskz_loadu_epi8(mask, x + static_cast<ptrdiff_t>(from) * l.x_stride);
  };
  __m512i tile[16];
  for (size_t i = 0; i < 16; ++i) {
    __m512i part = _mm512_castsi128_si512(load(i));
    part = _mm512_inserti32x4(part, load(16 + i), 1);
    part = _mm512_inserti32x4(part, load(32 + i), 2);
    tile[i] = _mm512_inserti32x4(part, load(48 + i), 3);
  }
  transpose(tile);
  const uint8_t* table = l.tables + 256 * first;
  const size_t columns = l.columns - first < kTileColumns ? l.columns - first : kTileColumns;
  for (size_t c = 0; c < 16; ++c) {  // what is missing goes through the last table
    tile[c] = look_up(tile[c], table + 256 * (c < columns ? c : columns - 1));
  }
  transpose(tile);
  const auto store = [&](size_t r, __m128i bytes) {
    if (r < rows) _mm_mask_storeu_epi8(y + static_cast<ptrdiff_t>(r) * l.y_stride, mask, bytes);
  };
  for (size_t i = 0; i < 16; ++i) {
    store(i, _mm512_castsi512_si128(tile[i]));
    store(16 + i, _mm512_extracti32x4_epi32(tile[i], 1));
    store(32 + i, _mm512_extracti32x4_epi32(tile[i], 2));
    store(48 + i, _mm512_extracti32x4_epi32(tile[i], 3));
  }
}

}  // namespace

void lookup_rows(const TableLookup& l) {
  size_t rows = l.rows, columns = l.columns;
  const bool dense = l.x_stride == l.y_stride && l.x_stride == static_cast<ptrdiff_t>(columns);
  if (dense) {
    columns *= rows;
    rows = 1;
  }
  __m512i t[4];
  for (int k = 0; k < 4; ++k) t[k] = _mm512_loadu_si512(l.tables + 64 * k);
  const size_t whole = columns / 64 * 64;
  const __mmask64 rest = (__mmask64{1} << (columns - whole)) - 1;
  const uint8_t* x = l.x;
  uint8_t* y = l.y;
  for (size_t r = 0; r < rows; ++r, x += l.x_stride, y += l.y_stride) {
    for (size_t i = 0; i < whole; i += 64) {
      const __m512i index = _mm512_loadu_si512(x + i);
      _mm512_storeu_si512(y + i, look_up(index, t[0], t[1], t[2], t[3]));
    }
    if (rest == 0) continue;
    const __m512i index = _mm512_maskz_loadu_epi8(rest, x + whole);
    _mm512_mask_storeu_epi8(y + whole, rest, look_up(index, t[0], t[1], t[2], t[3]));
  }
}

void lookup_columns(const TableLookup& l) {
  constexpr size_t kWorthwhile = 12;  // rows, below which a tile takes longer than its bytes
  size_t row = 0;
  for (; row + kWorthwhile <= l.rows; row += kTileRows) {
    for (size_t c = 0; c < l.columns; c += kTileColumns) {
      const size_t columns = l.columns - c;
      const auto mask =
          columns >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1u << columns) - 1);
      tile_of_columns(l, row, c, mask);
    }
  }
  if (row >= l.rows) return;
  TableLookup rest = l;
  rest.x += static_cast<ptrdiff_t>(row) * l.x_stride;
  rest.y += static_cast<ptrdiff_t>(row) * l.y_stride;
  rest.rows -= row;
  scalar::lookup_columns(rest);
}

}  // namespace furiosa::kernels::avx512vnni
