// The matrix product of float_kernels.h over vectors of an instruction set: every file that
// includes this defines before it, in its own unnamed namespace, `Vector` and the operations
// `zero_vector`, `load_vector`, `broadcast`, `fma`, `add` and `store_vector` on it.

#ifndef FURIOSA_KERNELS_NATIVE_PRODUCT_LOOPS_H_
#define FURIOSA_KERNELS_NATIVE_PRODUCT_LOOPS_H_

#include <cstddef>

#include "kernels/native/float_kernels.h"

namespace furiosa::kernels {
namespace {

// A tile of Rows rows and Vectors vectors of columns, for k in [first, last).
template <size_t Rows, size_t Vectors>
inline void product_tile(const Product& p, const float* x, const float* w, float* y, size_t first,
                         size_t last) {
  constexpr size_t kWidth = sizeof(Vector) / sizeof(float);
  Vector sum[Rows][Vectors];
  for (size_t r = 0; r < Rows; ++r) {
    for (size_t v = 0; v < Vectors; ++v) sum[r][v] = zero_vector();
  }
  w += first * p.columns;
  for (size_t k = first; k < last; ++k, w += p.columns) {
    Vector weights[Vectors];
    for (size_t v = 0; v < Vectors; ++v) weights[v] = load_vector(w + v * kWidth);
    for (size_t r = 0; r < Rows; ++r) {
      const Vector value = broadcast(x + r * p.x_stride + k);
      for (size_t v = 0; v < Vectors; ++v) sum[r][v] = fma(value, weights[v], sum[r][v]);
    }
  }
  for (size_t r = 0; r < Rows; ++r) {
    for (size_t v = 0; v < Vectors; ++v) {
      float* to = y + r * p.y_stride + v * kWidth;
      store_vector(to, first == 0 ? sum[r][v] : add(load_vector(to), sum[r][v]));
    }
  }
}

// All rows of Vectors vectors of columns, for k in [first, last).
template <size_t Rows, size_t Vectors>
inline void product_columns(const Product& p, size_t column, size_t first, size_t last) {
  const float* w = p.w + column;
  size_t r = 0;
  for (; r + Rows <= p.rows; r += Rows) {
    product_tile<Rows, Vectors>(p, p.x + r * p.x_stride, w, p.y + r * p.y_stride + column, first,
                                last);
  }
  for (; Rows > 4 && r + 4 <= p.rows; r += 4) {
    product_tile<4, Vectors>(p, p.x + r * p.x_stride, w, p.y + r * p.y_stride + column, first,
                             last);
  }
  for (; r + 2 <= p.rows; r += 2) {
    product_tile<2, Vectors>(p, p.x + r * p.x_stride, w, p.y + r * p.y_stride + column, first,
                             last);
  }
  for (; r < p.rows; ++r) {
    product_tile<1, Vectors>(p, p.x + r * p.x_stride, w, p.y + r * p.y_stride + column, first,
                             last);
  }
}

}  // namespace
}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_PRODUCT_LOOPS_H_
