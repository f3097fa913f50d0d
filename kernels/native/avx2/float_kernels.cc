#include "kernels/native/float_kernels.h"

#include <immintrin.h>

#include "kernels/native/float_vectors.h"

namespace furiosa::kernels {
namespace {

inline void widen(const uint8_t* x, Ints& y) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  const __m256i halves[2] = {_mm256_cvtepu8_epi32(bytes),
                             _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
  __builtin_memcpy(&y, halves, sizeof y);
}

inline void narrow(const Ints& x, uint8_t* y) {
  __m256i halves[2];
  __builtin_memcpy(halves, &x, sizeof x);
  const __m256i words = _mm256_packs_epi32(halves[0], halves[1]);  // of each alternately
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
  const __m128i bytes =
      _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(y), bytes);
}

using Vector = __m256;
inline Vector zero_vector() { return _mm256_setzero_ps(); }
inline Vector load_vector(const float* x) { return _mm256_loadu_ps(x); }
inline Vector broadcast(const float* x) { return _mm256_broadcast_ss(x); }
inline Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
inline void store_vector(float* y, Vector value) { _mm256_storeu_ps(y, value); }

}  // namespace
}  // namespace furiosa::kernels

#include "kernels/native/float_loops.h"
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
                                        .softmax_row = softmax_row,
                                        .product = product};

}  // namespace furiosa::kernels
