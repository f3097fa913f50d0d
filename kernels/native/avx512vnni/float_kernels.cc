#include "kernels/native/float_kernels.h"

#include <immintrin.h>

#include "kernels/native/avx512vnni/softmax.h"
#include "kernels/native/float_vectors.h"

namespace furiosa::kernels {
namespace {

inline void widen(const uint8_t* x, Ints& y) {
  y = reinterpret_cast<Ints>(
      _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
}

inline void narrow(const Ints& x, uint8_t* y) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(y),
                   _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(x)));
}

using Vector = __m512;
inline Vector zero_vector() { return _mm512_setzero_ps(); }
inline Vector load_vector(const float* x) { return _mm512_loadu_ps(x); }
inline Vector broadcast(const float* x) { return _mm512_set1_ps(*x); }
inline Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
inline void store_vector(float* y, Vector value) { _mm512_storeu_ps(y, value); }

}  // namespace
}  // namespace furiosa::kernels

#include "kernels/native/float_loops.h"
#include "kernels/native/product_loops.h"

namespace furiosa::kernels {
namespace {

void product(const Product& p) {
  for (size_t first = 0; first < p.depth; first += p.block) {
    const size_t last = p.depth - first < p.block ? p.depth : first + p.block;
    size_t j = 0;
    for (; j + 64 <= p.columns; j += 64) product_columns<6, 4>(p, j, first, last);
    for (; j + 48 <= p.columns; j += 48) product_columns<8, 3>(p, j, first, last);
    for (; j < p.columns; j += 16) product_columns<8, 1>(p, j, first, last);
  }
}

void softmax_64(const uint8_t* x, uint8_t* y, size_t length, size_t rows, float* scratch,
                const SoftmaxParameters& p) {
  if (small_quotients(p)) {
    avx512vnni::softmax(x, y, length, scratch, p);
  } else {
    softmax(x, y, length, rows, scratch, p);
  }
}

}  // namespace

const FloatKernels kAvx512VnniFloatKernels = {.average = average,
                                              .blend = blend,
                                              .blend_bytes = blend_bytes,
                                              .blend_fixed = blend_fixed,
                                              .softmax = softmax_64,
                                              .softmax_row = softmax_row,
                                              .product = product};

}  // namespace furiosa::kernels
