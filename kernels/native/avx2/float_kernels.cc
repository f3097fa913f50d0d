#include "kernels/native/float_kernels.h"

#include <immintrin.h>

#include "kernels/native/float_loops.h"

namespace furiosa::kernels {
namespace {

using Vector = __m256;
inline Vector zero() { return _mm256_setzero_ps(); }
inline Vector load(const float* x) { return _mm256_loadu_ps(x); }
inline Vector broadcast(const float* x) { return _mm256_broadcast_ss(x); }
inline Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
inline void store(float* y, Vector value) { _mm256_storeu_ps(y, value); }

}  // namespace
}  // namespace furiosa::kernels

#include "kernels/native/product_loops.h"

namespace furiosa::kernels {
namespace {

void product(const Product& p) {
  for (size_t first = 0; first < p.depth; first += p.block) {
    const size_t last = p.depth - first < p.block ? p.depth : first + p.block;
    for (size_t j = 0; j < p.columns; j += 16) product_columns<6, 2>(p, j, first, last);
  }
}

}  // namespace

const FloatKernels kAvx2FloatKernels = {.average = average,
                                        .blend = blend,
                                        .blend_bytes = blend_bytes,
                                        .blend_fixed = blend_fixed,
                                        .softmax = softmax,
                                        .product = product};

}  // namespace furiosa::kernels
