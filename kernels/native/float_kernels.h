#ifndef FURIOSA_KERNELS_NATIVE_FLOAT_KERNELS_H_
#define FURIOSA_KERNELS_NATIVE_FLOAT_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/native/isa.h"

namespace furiosa::kernels {

// mean = sum of fl((x - x_zero_point) * x_scale) in order, divided by `count`;
// y = saturate(rne(mean / y_scale + y_zero_point)), where result and zero point are less `bias`.
struct AverageParameters {
  float x_scale;
  int32_t x_zero_point;
  float count;
  float y_scale;
  float y_zero_point;
  int32_t bias;  // 128 where the bytes of y are int8 with the top bit flipped, otherwise 0
};

// How bytes become float32 and back.
struct BlendParameters {
  float x_scale;
  int32_t x_zero_point;
  float y_scale;
  int32_t y_zero_point;
};

// A softmax is computed for up to this many rows at a time, which lie side by side.
inline constexpr size_t kSoftmaxRows = 64;

// e = exponentials[x + 255 - max(x)], v = rne(e * factor / sum of e), where the sum is one of
// floats and the rest is computed in doubles if `wide`, else in floats. y = clamp(v + zero_point,
// 0, 255) if `wide`, else min(u32(v) + zero_point, 255).
struct SoftmaxParameters {
  const float* exponentials;  // 256, finite, not negative, and the last is positive
  const uint8_t* planes;      // their first bytes, 256; their second bytes, and so on
  double factor;
  bool wide;
  uint8_t zero_point;
};

// The columns of a product come in multiples of this.
inline constexpr size_t kProductColumns = 16;

// y[r, j] = the sum over k < depth of x[r, k] * w[k, j]: for each `block` values of k a chain of
// fused multiply-adds from 0, these sums added in order. `columns` is a multiple of
// kProductColumns, w holds that many per k.
struct Product {
  const float* x;
  size_t x_stride;
  size_t rows;
  const float* w;
  size_t depth;
  size_t block;
  size_t columns;
  float* y;
  size_t y_stride;
};

// Inner loops of what ONNX Runtime computes in float32 between bytes, for one instruction set;
// rounded alike on every one. docs/numerics.md has the formulas.
struct FloatKernels {
  // Each y[i] from rows[r][i] of at least one row.
  void (*average)(const uint8_t* const* rows, size_t row_count, uint8_t* y, size_t count,
                  const AverageParameters& parameters);
  // y[i] = quantised sum over t of weights[t] * dequantised taps[t][i], in order.
  void (*blend)(const uint8_t* const* taps, const float* weights, uint8_t* y, size_t count,
                const BlendParameters& parameters);
  // As blend, on the bytes as they are; the sum loses its fraction.
  void (*blend_bytes)(const uint8_t* const* taps, const float* weights, uint8_t* y, size_t count);
  // As blend_bytes, with weights that are integers; the sum is divided by 2^20.
  void (*blend_fixed)(const uint8_t* const* taps, const float* weights, uint8_t* y, size_t count);
  // y[i * kSoftmaxRows + r] from x[i * kSoftmaxRows + r], i < length, r < rows. What is beyond the
  // rows may be read and written. `scratch` holds length * kSoftmaxRows floats.
  void (*softmax)(const uint8_t* x, uint8_t* y, size_t length, size_t rows, float* scratch,
                  const SoftmaxParameters& parameters);
  // A single row: y[i] from x[i]. `scratch` holds `length` floats.
  void (*softmax_row)(const uint8_t* x, uint8_t* y, size_t length, float* scratch,
                      const SoftmaxParameters& parameters);
  void (*product)(const Product& product);
};

// The kernels for the best instruction set up to `isa`.
const FloatKernels& float_kernels(Isa isa);

extern const FloatKernels kScalarFloatKernels;
#if defined(__x86_64__)
extern const FloatKernels kAvx2FloatKernels;
extern const FloatKernels kAvx512VnniFloatKernels;
#endif

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_FLOAT_KERNELS_H_
