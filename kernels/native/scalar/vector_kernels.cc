#include "kernels/native/vector_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/native/expression_loops.h"

namespace furiosa::kernels {
namespace {

// Half to even. What does not fit becomes INT32_MIN, as the conversion of x86 has it and therefore
// ONNX Runtime's QLinearAdd and QLinearMul.
int32_t round_to_int32(float value) {
  const bool fits = value >= -2147483648.0f && value < 2147483648.0f;
  return fits ? static_cast<int32_t>(std::lrintf(value)) : INT32_MIN;
}

// clamp(rne(value) + zero_point, 0, 255); a NaN counts as the lowest value.
uint8_t round_to_byte(float value, int32_t zero_point) {
  const auto least = static_cast<float>(-zero_point);
  const auto most = static_cast<float>(255 - zero_point);
  value = value > least ? value : least;
  value = value < most ? value : most;
  return static_cast<uint8_t>(std::lrintf(value) + zero_point);
}

uint8_t saturate(int32_t value, int32_t bias) {
  return static_cast<uint8_t>(std::clamp(value, -bias, 255 - bias) + bias);
}

void quantize(const float* x, uint8_t* y, size_t count, float scale, int32_t zero_point) {
  for (size_t i = 0; i < count; ++i) y[i] = round_to_byte(x[i] / scale, zero_point);
}

void dequantize(const uint8_t* x, float* y, size_t count, float scale, int32_t zero_point) {
  for (size_t i = 0; i < count; ++i) y[i] = static_cast<float>(x[i] - zero_point) * scale;
}

void lookup(const uint8_t* x, uint8_t* y, size_t count, const uint8_t* table) {
  for (size_t i = 0; i < count; ++i) y[i] = table[x[i]];
}

void add(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count, const AddParameters& p) {
  for (size_t i = 0; i < count; ++i) {
    const auto of_a = static_cast<float>(a[i] - p.bias);
    const auto of_b = static_cast<float>(b[i] - p.bias);
    const float sum = std::fma(of_a, p.a_scale, std::fma(of_b, p.b_scale, p.offset));
    y[i] = saturate(round_to_int32(sum), p.bias);
  }
}

void mul(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count, const MulParameters& p) {
  for (size_t i = 0; i < count; ++i) {
    const auto product = static_cast<float>((a[i] - p.a_zero_point) * (b[i] - p.b_zero_point));
    y[i] = saturate(round_to_int32(product * p.multiplier + p.y_zero_point), p.bias);
  }
}

void max(const uint8_t* x, const Windows& w, uint8_t* y, size_t count) {
  for (size_t n = 0; n < w.count; ++n, x += w.x_step, y += w.y_step) {
    std::memset(y, 0, count);
    const uint8_t* row = x;
    for (size_t i = 0; i < w.rows; ++i, row += w.row_stride) {
      const uint8_t* tap = row;
      for (size_t k = 0; k < w.columns; ++k, tap += w.column_stride) {
        for (size_t c = 0; c < count; ++c) y[c] = std::max(y[c], tap[c]);
      }
    }
  }
}

void accumulate(const uint8_t* x, ptrdiff_t stride, size_t rows, int32_t* sums, size_t count) {
  for (size_t r = 0; r < rows; ++r, x += stride) {
    for (size_t i = 0; i < count; ++i) sums[i] += x[i];
  }
}

void requantize(const int32_t* sums, uint8_t* y, size_t count, float multiplier,
                int32_t zero_point) {
  for (size_t i = 0; i < count; ++i) {
    y[i] = round_to_byte(static_cast<float>(sums[i]) * multiplier, zero_point);
  }
}

void transpose(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride, size_t rows,
               size_t columns) {
  for (size_t r = 0; r < rows; ++r, y += y_stride) {
    for (size_t c = 0; c < columns; ++c) y[c] = x[static_cast<ptrdiff_t>(c) * x_stride + r];
  }
}

void copy_rows(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride, size_t rows,
               size_t count) {
  for (size_t r = 0; r < rows; ++r, x += x_stride, y += y_stride) std::memmove(y, x, count);
}

void gather_rows(const uint8_t* x, ptrdiff_t stride, const int32_t* indices, size_t rows,
                 uint8_t* y, ptrdiff_t y_stride, size_t count) {
  for (size_t r = 0; r < rows; ++r, y += y_stride) std::memmove(y, x + indices[r] * stride, count);
}

}  // namespace

const VectorKernels kScalarVectorKernels = {
    .quantize = quantize,
    .quantize_three = nullptr,
    .dequantize = dequantize,
    .lookup = lookup,
    .lookup_rows = scalar::lookup_rows,
    .lookup_columns = scalar::lookup_columns,
    .add = add,
    .mul = mul,
    .max = max,
    .accumulate = accumulate,
    .requantize = requantize,
    .transpose = transpose,
    .copy_rows = copy_rows,
    .gather_rows = gather_rows,
    .binary = {add_floats, subtract_floats, multiply_floats, divide_floats, min_floats, max_floats},
    .unary = {negate_floats, absolute_floats, square_root_floats},
};

}  // namespace furiosa::kernels
