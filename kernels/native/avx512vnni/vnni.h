#ifndef FURIOSA_KERNELS_NATIVE_AVX512VNNI_VNNI_H_
#define FURIOSA_KERNELS_NATIVE_AVX512VNNI_VNNI_H_

#include <immintrin.h>

#include <cstring>

#include "kernels/native/epilogue.h"

namespace furiosa::kernels::avx512vnni {

// Adds to each int32 the four products of the bytes and the int8 weights in its place. The
// intrinsic would make GCC 12 copy and spill accumulators.
FURIOSA_INLINE void dot(__m512i& accumulator, __m512i bytes, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(accumulator) : "v"(bytes), "v"(weights));
}
FURIOSA_INLINE void dot(__m512i& accumulator, __m512i bytes, const __m512i* weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(accumulator) : "v"(bytes), "m"(*weights));
}

// The four bytes from `from` on, in every place.
FURIOSA_INLINE __m512i four(const uint8_t* from) {
  int32_t word;
  std::memcpy(&word, from, sizeof(word));
  return _mm512_set1_epi32(word);
}

// Four vectors of 64 channels of one tap each become vectors of 16 channels by four taps, in slot
// order: vector v holds the channels of accumulator v.
FURIOSA_INLINE void interleave(const __m512i (&taps)[4], __m512i (&fours)[4]) {
  const __m512i low01 = _mm512_unpacklo_epi8(taps[0], taps[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(taps[0], taps[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(taps[2], taps[3]);
  const __m512i high23 = _mm512_unpackhi_epi8(taps[2], taps[3]);
  fours[0] = _mm512_unpacklo_epi16(low01, low23);
  fours[1] = _mm512_unpackhi_epi16(low01, low23);
  fours[2] = _mm512_unpacklo_epi16(high01, high23);
  fours[3] = _mm512_unpackhi_epi16(high01, high23);
}

}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_VNNI_H_
