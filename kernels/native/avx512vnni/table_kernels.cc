#include "kernels/native/table_kernels.h"

#include <immintrin.h>

#include "kernels/native/avx512vnni/transpose.h"

namespace furiosa::kernels::avx512vnni {
namespace {

// 64 rows of 16 columns are transposed, which gives 64 bytes for one table, and back.
void look_up_tile(const TableLookup& l, size_t row, size_t column) {
  const size_t rows = l.rows - row, columns = l.columns - column;
  __m512i tile[16];
  load_tile(l.x + static_cast<ptrdiff_t>(row) * l.x_stride + column, l.x_stride, rows, columns,
            tile);
  transpose_tile(tile);
  const uint8_t* table = l.tables + 256 * column;
  for (size_t i = 0; i < kTileColumns; ++i) {  // what is missing goes through the last table
    tile[i] = look_up(tile[i], table + 256 * (i < columns ? i : columns - 1));
  }
  transpose_tile(tile);
  store_tile(tile, rows, columns, l.y + static_cast<ptrdiff_t>(row) * l.y_stride + column,
             l.y_stride);
}

// One table in registers.
class Table {
 public:
  explicit Table(const uint8_t* table) {
    for (int k = 0; k < 4; ++k) quarters_[k] = _mm512_loadu_si512(table + 64 * k);
  }

  __m512i operator[](__m512i index) const {
    return look_up(index, quarters_[0], quarters_[1], quarters_[2], quarters_[3]);
  }

 private:
  __m512i quarters_[4];
};

inline __m256i load_half(const uint8_t* x) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
}

inline void store_half(uint8_t* y, __m256i bytes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes);
}

// The last vector overlaps the one before: it is read before anything is written, as the result may
// be the operand. Masks would slow down what is in no cache.
inline void look_up_row(const Table& table, const uint8_t* x, uint8_t* y, size_t count) {
  if (count >= 64) {
    const __m512i last = _mm512_loadu_si512(x + count - 64);
    for (size_t i = 0; i + 64 < count; i += 64) {
      _mm512_storeu_si512(y + i, table[_mm512_loadu_si512(x + i)]);
    }
    _mm512_storeu_si512(y + count - 64, table[last]);
  } else if (count >= 32) {
    const __m512i head = _mm512_castsi256_si512(load_half(x));
    const __m512i bytes = table[_mm512_inserti64x4(head, load_half(x + count - 32), 1)];
    store_half(y, _mm512_castsi512_si256(bytes));
    store_half(y + count - 32, _mm512_extracti64x4_epi64(bytes, 1));
  } else {
    const __mmask64 mask = first_of_64(count);
    _mm512_mask_storeu_epi8(y, mask, table[_mm512_maskz_loadu_epi8(mask, x)]);
  }
}

// Rows of 16 to 31 bytes: two of them in a vector, by their first and by their last 16 bytes, which
// may overlap; or four.
void look_up_short_rows(const Table& table, const TableLookup& l) {
  const size_t together = l.columns == 16 ? 4 : 2;
  for (size_t row = 0; row < l.rows; row += together) {
    const auto place = [&](size_t lane,
                           ptrdiff_t stride) {  // rows that are missing repeat the last
      const size_t r = row + lane * together / 4;
      const size_t column = together == 2 && lane % 2 == 1 ? l.columns - 16 : 0;
      return static_cast<ptrdiff_t>(r < l.rows ? r : l.rows - 1) * stride +
             static_cast<ptrdiff_t>(column);
    };
    const auto load = [&](size_t lane) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(l.x + place(lane, l.x_stride)));
    };
    const auto store = [&](size_t lane, __m128i part) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(l.y + place(lane, l.y_stride)), part);
    };
    __m512i bytes = _mm512_castsi128_si512(load(0));
    bytes = _mm512_inserti32x4(bytes, load(1), 1);
    bytes = _mm512_inserti32x4(bytes, load(2), 2);
    bytes = table[_mm512_inserti32x4(bytes, load(3), 3)];
    store(0, _mm512_castsi512_si128(bytes));
    store(1, _mm512_extracti32x4_epi32(bytes, 1));
    store(2, _mm512_extracti32x4_epi32(bytes, 2));
    store(3, _mm512_extracti32x4_epi32(bytes, 3));
  }
}

}  // namespace

void lookup_rows(const TableLookup& l) {
  const bool dense = l.x_stride == l.y_stride && l.x_stride == static_cast<ptrdiff_t>(l.columns);
  const Table table(l.tables);
  if (dense) {
    look_up_row(table, l.x, l.y, l.rows * l.columns);
  } else if (l.columns >= 32) {
    for (size_t r = 0; r < l.rows; ++r) {
      const auto row = static_cast<ptrdiff_t>(r);
      look_up_row(table, l.x + row * l.x_stride, l.y + row * l.y_stride, l.columns);
    }
  } else if (l.columns >= 16) {
    look_up_short_rows(table, l);
  } else {
    scalar::lookup_rows(l);
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
