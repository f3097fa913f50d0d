#ifndef FURIOSA_KERNELS_NATIVE_TABLE_KERNELS_H_
#define FURIOSA_KERNELS_NATIVE_TABLE_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace furiosa::kernels {

// A matrix of bytes goes through tables of 256 bytes into another, or into itself. Strides are from
// row to row, in bytes.
struct TableLookup {
  const uint8_t* x;
  ptrdiff_t x_stride;
  uint8_t* y;
  ptrdiff_t y_stride;
  size_t rows, columns;
  const uint8_t* tables;  // one for all, or one after the other for each column
};

// The lookups of VectorKernels.
namespace scalar {
void lookup_rows(const TableLookup& lookup);
void lookup_columns(const TableLookup& lookup);
}  // namespace scalar
#if defined(__x86_64__)
namespace avx2 {
void lookup_rows(const TableLookup& lookup);
}  // namespace avx2
namespace avx512vnni {
void lookup_rows(const TableLookup& lookup);
void lookup_columns(const TableLookup& lookup);
}  // namespace avx512vnni
#endif

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_TABLE_KERNELS_H_
