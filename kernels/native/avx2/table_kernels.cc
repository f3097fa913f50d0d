#include "kernels/native/table_kernels.h"

#include <immintrin.h>

#include "kernels/native/avx2/table.h"

namespace furiosa::kernels::avx2 {
namespace {

inline __m256i load(const uint8_t* x) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
}

inline void store(uint8_t* y, __m256i bytes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes);
}

// At least 32 bytes. The last vectors overlap what comes before: they are read before anything is
// written, as the result may be the operand.
inline void look_up_row(const Table& table, const uint8_t* x, uint8_t* y, size_t count) {
  __m256i last[1] = {load(x + count - 32)};
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    __m256i bytes[2] = {load(x + i), load(x + i + 32)};
    table.look_up(bytes);
    store(y + i, bytes[0]);
    store(y + i + 32, bytes[1]);
  }
  if (i + 32 <= count) {
    __m256i bytes[1] = {load(x + i)};
    table.look_up(bytes);
    store(y + i, bytes[0]);
    i += 32;
  }
  if (i == count) return;
  table.look_up(last);
  store(y + count - 32, last[0]);
}

}  // namespace

void lookup_rows(const TableLookup& l) {
  constexpr size_t kWorthwhile = 64;  // bytes, below which the table takes longer to prepare
  const bool dense = l.x_stride == l.y_stride && l.x_stride == static_cast<ptrdiff_t>(l.columns);
  if ((!dense && l.columns < 32) || l.rows * l.columns < kWorthwhile) {
    scalar::lookup_rows(l);
    return;
  }
  const Table table(l.tables);
  if (dense) {
    look_up_row(table, l.x, l.y, l.rows * l.columns);
    return;
  }
  const uint8_t* x = l.x;
  uint8_t* y = l.y;
  for (size_t r = 0; r < l.rows; ++r, x += l.x_stride, y += l.y_stride) {
    look_up_row(table, x, y, l.columns);
  }
}

}  // namespace furiosa::kernels::avx2
