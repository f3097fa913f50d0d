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
  FURIOSA_INLINE static void dot(__m256i& accumulator, __m256i words, const __m256i* weights,
                                 int index) {
    dot(accumulator, words, _mm256_load_si256(weights + index));
  }

  // From the lines of two taps, the units of 16 of 32 channels, in slot order: those of the first
  // two accumulators, or of the last two.
  template <bool kUpper>
  FURIOSA_INLINE static void interleave(const __m256i (&taps)[2], __m256i (&units)[2]) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i pairs =
        kUpper ? _mm256_unpackhi_epi8(taps[0], taps[1]) : _mm256_unpacklo_epi8(taps[0], taps[1]);
    units[0] = _mm256_unpacklo_epi8(pairs, zero);
    units[1] = _mm256_unpackhi_epi8(pairs, zero);
  }
};

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_WORDS_H_
