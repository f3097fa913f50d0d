#include "kernels/native/table_kernels.h"

namespace furiosa::kernels::scalar {

void lookup_rows(const TableLookup& l) {
  const uint8_t* x = l.x;
  uint8_t* y = l.y;
  for (size_t r = 0; r < l.rows; ++r, x += l.x_stride, y += l.y_stride) {
    size_t i = 0;
    for (; i + 8 <= l.columns; i += 8) {  // words: the entries need no store each
      uint64_t in, out = 0;
      __builtin_memcpy(&in, x + i, 8);
      for (int bit = 0; bit < 64; bit += 8) out |= uint64_t{l.tables[in >> bit & 255]} << bit;
      __builtin_memcpy(y + i, &out, 8);
    }
    for (; i < l.columns; ++i) y[i] = l.tables[x[i]];
  }
}

void lookup_columns(const TableLookup& l) {
  const uint8_t* x = l.x;
  uint8_t* y = l.y;
  for (size_t r = 0; r < l.rows; ++r, x += l.x_stride, y += l.y_stride) {
    size_t i = 0;
    for (; i + 8 <= l.columns; i += 8) {
      const uint8_t* tables = l.tables + 256 * i;
      uint64_t in, out = 0;
      __builtin_memcpy(&in, x + i, 8);
      for (int k = 0; k < 8; ++k) out |= uint64_t{tables[256 * k + (in >> 8 * k & 255)]} << 8 * k;
      __builtin_memcpy(y + i, &out, 8);
    }
    for (; i < l.columns; ++i) y[i] = l.tables[256 * i + x[i]];
  }
}

}  // namespace furiosa::kernels::scalar
