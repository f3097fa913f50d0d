#ifndef FURIOSA_KERNELS_NATIVE_AVX2_WORDS_H_
#define FURIOSA_KERNELS_NATIVE_AVX2_WORDS_H_

#include <immintrin.h>

#include "kernels/native/avx2/bytes.h"

namespace furiosa::kernels::avx2 {
namespace {

// Units of two bytes widened to 16 bits, multiplied by vpmaddwd: vpmaddubsw would saturate.
struct Words {
  static constexpr int kUnit = 2;
  using Weight = int16_t;

  FURIOSA_INLINE static void dot(__m256i& accumulator, __m256i words, __m256i weights) {
    accumulator = _mm256_add_epi32(accumulator, _mm256_madd_epi16(words, weights));
  }
  FURIOSA_INLINE static void dot(__m256i& accumulator, __m256i words, const __m256i* weights) {
    dot(accumulator, words, _mm256_load_si256(weights));
  }

  // The units of 32 channels from the lines of two taps, in slot order.
  FURIOSA_INLINE static void interleave(const __m256i (&taps)[2], __m256i (&units)[4]) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i low = _mm256_unpacklo_epi8(taps[0], taps[1]);
    units[0] = _mm256_unpacklo_epi8(low, zero);
    units[1] = _mm256_unpackhi_epi8(low, zero);
    const __m256i high = _mm256_unpackhi_epi8(taps[0], taps[1]);
    units[2] = _mm256_unpacklo_epi8(high, zero);
    units[3] = _mm256_unpackhi_epi8(high, zero);
  }
};

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_WORDS_H_
