#include "kernels/native/float_kernels.h"

#include <algorithm>
#include <cmath>

#include "kernels/native/float_vectors.h"

namespace furiosa::kernels {
namespace {

inline void widen(const uint8_t* x, Ints& y) {
  for (size_t i = 0; i < kLanes; ++i) y[i] = x[i];
}

inline void narrow(const Ints& x, uint8_t* y) {
  for (size_t i = 0; i < kLanes; ++i) y[i] = static_cast<uint8_t>(x[i]);
}

}  // namespace
}  // namespace furiosa::kernels

#include "kernels/native/float_loops.h"

namespace furiosa::kernels {
namespace {

void product(const Product& p) {
  for (size_t r = 0; r < p.rows; ++r) {
    const float* x = p.x + r * p.x_stride;
    float* y = p.y + r * p.y_stride;
    std::fill_n(y, p.columns, 0.0f);
    for (size_t first = 0; first < p.depth; first += p.block) {
      const size_t last = std::min(p.depth, first + p.block);
      for (size_t j = 0; j < p.columns; j += kProductColumns) {
        float sum[kProductColumns] = {};
        for (size_t k = first; k < last; ++k) {
          const float* w = p.w + k * p.columns + j;
          for (size_t i = 0; i < kProductColumns; ++i) sum[i] = std::fma(x[k], w[i], sum[i]);
        }
        for (size_t i = 0; i < kProductColumns; ++i) y[j + i] += sum[i];
      }
    }
  }
}

}  // namespace

const FloatKernels kScalarFloatKernels = {.average = average,
                                          .blend = blend,
                                          .blend_bytes = blend_bytes,
                                          .blend_fixed = blend_fixed,
                                          .softmax = softmax,
                                          .softmax_row = softmax_row,
                                          .product = product};

}  // namespace furiosa::kernels
