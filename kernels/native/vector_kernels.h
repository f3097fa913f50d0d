#ifndef FURIOSA_KERNELS_NATIVE_VECTOR_KERNELS_H_
#define FURIOSA_KERNELS_NATIVE_VECTOR_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/native/isa.h"
#include "kernels/native/table_kernels.h"

namespace furiosa::kernels {

// y = saturate(rne(fma(a, a_scale, fma(b, b_scale, offset)))), on bytes less `bias`.
struct AddParameters {
  float a_scale;
  float b_scale;
  float offset;
  int32_t bias;  // 128 where the bytes are int8 with the top bit flipped, otherwise 0
};

// y = saturate(rne((a - a_zero_point) * (b - b_zero_point) * multiplier + y_zero_point)), where the
// result and its zero point are less `bias`.
struct MulParameters {
  float multiplier;
  int32_t a_zero_point;
  int32_t b_zero_point;
  float y_zero_point;
  int32_t bias;
};

// Windows over an image whose channels are contiguous, one beside the other; strides in bytes.
struct Windows {
  size_t rows, columns;                 // taps of each window
  ptrdiff_t row_stride, column_stride;  // from tap to tap
  size_t count;
  ptrdiff_t x_step, y_step;  // from window to window, in the image and in the result
};

// Float operations of an expression, in the order of their codes from ADD on.
enum class Binary { kAdd, kSub, kMul, kDiv, kMin, kMax };
enum class Unary { kNeg, kAbs, kSqrt };
inline constexpr size_t kBinaryCount = 6;
inline constexpr size_t kUnaryCount = 3;

// The innermost loops, on contiguous rows of `count` elements, for one instruction set. Results may
// be written over an operand of the same type. docs/program.md has the formulas.
struct VectorKernels {
  void (*quantize)(const float* x, uint8_t* y, size_t count, float scale, int32_t zero_point);
  // y[3 * i + k] = quantised x[k * plane + i]; nullptr where nothing is faster than quantize and
  // transpose.
  void (*quantize_three)(const float* x, ptrdiff_t plane, uint8_t* y, size_t count, float scale,
                         int32_t zero_point);
  void (*dequantize)(const uint8_t* x, float* y, size_t count, float scale, int32_t zero_point);
  // y[i] = table[x[i]]
  void (*lookup)(const uint8_t* x, uint8_t* y, size_t count, const uint8_t* table);
  void (*lookup_rows)(const TableLookup& lookup);     // in one table
  void (*lookup_columns)(const TableLookup& lookup);  // in a table for each column
  void (*add)(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count,
              const AddParameters& parameters);
  void (*mul)(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count,
              const MulParameters& parameters);
  // The largest of the taps of each window, 0 where there are none, for `count` channels.
  void (*max)(const uint8_t* x, const Windows& windows, uint8_t* y, size_t count);
  // sums[i] += x[r * stride + i] for each of `rows` rows.
  void (*accumulate)(const uint8_t* x, ptrdiff_t stride, size_t rows, int32_t* sums, size_t count);
  // y[i] = clamp(rne(f32(sums[i]) * multiplier) + zero_point)
  void (*requantize)(const int32_t* sums, uint8_t* y, size_t count, float multiplier,
                     int32_t zero_point);
  // y[r * y_stride + c] = x[c * x_stride + r]
  void (*transpose)(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride,
                    size_t rows, size_t columns);
  // y[r * y_stride + i] = x[r * x_stride + i], without a call per row.
  void (*copy_rows)(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride,
                    size_t rows, size_t count);
  // y[r * y_stride + i] = x[indices[r] * stride + i]
  void (*gather_rows)(const uint8_t* x, ptrdiff_t stride, const int32_t* indices, size_t rows,
                      uint8_t* y, ptrdiff_t y_stride, size_t count);
  void (*binary[kBinaryCount])(const float* a, const float* b, float* y, size_t count);
  void (*unary[kUnaryCount])(const float* x, float* y, size_t count);
};

// The kernels for the best instruction set up to `isa`.
const VectorKernels& vector_kernels(Isa isa);

extern const VectorKernels kScalarVectorKernels;
#if defined(__x86_64__)
extern const VectorKernels kAvx2VectorKernels;
extern const VectorKernels kAvx512VnniVectorKernels;

// Kernels for AVX2 that more vector width does not help.
namespace avx2 {
void transpose(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride, size_t rows,
               size_t columns);
void copy_rows(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride, size_t rows,
               size_t count);
void gather_rows(const uint8_t* x, ptrdiff_t stride, const int32_t* indices, size_t rows,
                 uint8_t* y, ptrdiff_t y_stride, size_t count);
}  // namespace avx2
namespace avx512vnni {
void transpose(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride, size_t rows,
               size_t columns);
}  // namespace avx512vnni
#endif

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_VECTOR_KERNELS_H_
