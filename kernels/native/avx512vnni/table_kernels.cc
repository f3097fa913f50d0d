#include "kernels/native/table_kernels.h"

#include <immintrin.h>

#include "kernels/native/avx512vnni/transpose.h"

namespace furiosa::kernels::avx512vnni {
namespace {

// 64 rows of 16 columns are transposed, which gives 64 bytes for one table, and back.
void look_up_tile(const TableLookup& l, size_t row, size_t column) {
  const size_t rows = l.rows - row, columns = l.columns - column;
  const __mmask16 mask = first_of_16(columns);
  __m512i tile[16];
  load_tile(l.x + static_cast<ptrdiff_t>(row) * l.x_stride + column, l.x_stride, rows, mask, tile);
  transpose_tile(tile);
  const uint8_t* table = l.tables + 256 * column;
  for (size_t i = 0; i < kTileColumns; ++i) {  // what is missing goes through the last table
    tile[i] = look_up(tile[i], table + 256 * (i < columns ? i : columns - 1));
  }
  transpose_tile(tile);
  store_tile(tile, rows, mask, l.y + static_cast<ptrdiff_t>(row) * l.y_stride + column, l.y_stride);
}

}  // namespace

void lookup_rows(const TableLookup& l) {
  size_t rows = l.rows, columns = l.columns;
  if (l.x_stride == l.y_stride && l.x_stride == static_cast<ptrdiff_t>(columns)) {
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
    for (size_t c = 0; c < l.columns; c += kTileColumns) look_up_tile(l, row, c);
  }
  if (row >= l.rows) return;
  TableLookup rest = l;
  rest.x += static_cast<ptrdiff_t>(row) * l.x_stride;
  rest.y += static_cast<ptrdiff_t>(row) * l.y_stride;
  rest.rows -= row;
  scalar::lookup_columns(rest);
}

}  // namespace furiosa::kernels::avx512vnni
