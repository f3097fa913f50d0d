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
  // By weights[index]: an index rather than an address, which GCC 12 would keep for each.
  FURIOSA_INLINE static void dot(__m256i& accumulator, __m256i bytes, const __m256i* weights,
                                 int index) {
    using Panel = __m256i[1 << 16];
    asm("%{vex%} vpdpbusd %2, %1, %0"
        : "+x"(accumulator)
        : "x"(bytes), "m"((*reinterpret_cast<const Panel*>(weights))[index]));
  }

  // From the lines of four taps, the units of 16 of 32 channels, in slot order: those of the first
  // two accumulators, or of the last two.
  template <bool kUpper>
  FURIOSA_INLINE static void interleave(const __m256i (&taps)[4], __m256i (&units)[2]) {
    const auto pairs = [](__m256i a, __m256i b) {
      return kUpper ? _mm256_unpackhi_epi8(a, b) : _mm256_unpacklo_epi8(a, b);
    };
    const __m256i first = pairs(taps[0], taps[1]), last = pairs(taps[2], taps[3]);
    units[0] = _mm256_unpacklo_epi16(first, last);
    units[1] = _mm256_unpackhi_epi16(first, last);
  }
};

}  // namespace
}  // namespace furiosa::kernels::avxvnni

#endif  // FURIOSA_KERNELS_NATIVE_AVXVNNI_VNNI_H_
