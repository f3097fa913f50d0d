#ifndef FURIOSA_KERNELS_NATIVE_AVXVNNI_VNNI_H_
#define FURIOSA_KERNELS_NATIVE_AVXVNNI_VNNI_H_

#include <immintrin.h>

#include "kernels/native/avx2/bytes.h"

namespace furiosa::kernels::avxvnni {
namespace {

// Units of four bytes: channels of a row, or taps of a channel.
struct Bytes {
  static constexpr int kUnit = 4;
  using Weight = int8_t;

  // Adds to each int32 the four products of the bytes and the int8 weights in its place. The
  // intrinsic would make GCC 12 copy and spill accumulators.
  FURIOSA_INLINE static void dot(__m256i& accumulator, __m256i bytes, __m256i weights) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(accumulator) : "x"(bytes), "x"(weights));
  }
  FURIOSA_INLINE static void dot(__m256i& accumulator, __m256i bytes, const __m256i* weights) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(accumulator) : "x"(bytes), "m"(*weights));
  }

  // The units of 32 channels from the lines of four taps, in slot order.
  FURIOSA_INLINE static void interleave(const __m256i (&taps)[4], __m256i (&units)[4]) {
    const __m256i low01 = _mm256_unpacklo_epi8(taps[0], taps[1]);
    const __m256i low23 = _mm256_unpacklo_epi8(taps[2], taps[3]);
    units[0] = _mm256_unpacklo_epi16(low01, low23);
    units[1] = _mm256_unpackhi_epi16(low01, low23);
    const __m256i high01 = _mm256_unpackhi_epi8(taps[0], taps[1]);
    const __m256i high23 = _mm256_unpackhi_epi8(taps[2], taps[3]);
    units[2] = _mm256_unpacklo_epi16(high01, high23);
    units[3] = _mm256_unpackhi_epi16(high01, high23);
  }
};

}  // namespace
}  // namespace furiosa::kernels::avxvnni

#endif  // FURIOSA_KERNELS_NATIVE_AVXVNNI_VNNI_H_
