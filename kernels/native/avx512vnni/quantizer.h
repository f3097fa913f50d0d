#ifndef FURIOSA_KERNELS_NATIVE_AVX512VNNI_QUANTIZER_H_
#define FURIOSA_KERNELS_NATIVE_AVX512VNNI_QUANTIZER_H_

#include <immintrin.h>

#include <cstdint>

namespace furiosa::kernels::avx512vnni {
namespace {

// fl(v / s) as integers without a division. For the floats lo < 1 / s < hi next to each other or
// with one between, fl(v * lo) and fl(v * hi) lie on both sides of fl(v / s), since rounding is
// monotonic; where they round to the same integer, so does the quotient. Only where they do not,
// which is once in some ten thousand times, is the division needed.
class Reciprocal {
 public:
  // s and 1 / s are normal and positive. With 4 steps the two sides enclose v / s itself, unrounded
  // and for the v that a float stands for: that takes four times half a step, the roundings of v,
  // of 1 / s and of both products.
  explicit Reciprocal(__m512 s, int steps = 1)
      : low_(step(_mm512_div_ps(_mm512_set1_ps(1.0f), s), -steps)),
        high_(step(_mm512_div_ps(_mm512_set1_ps(1.0f), s), steps)) {}

  // rne(fl(v / s)) where the result's lane is not set in `unsure`; INT32_MIN for a NaN and for what
  // does not fit.
  __m512i operator()(__m512 v, __mmask16& unsure) const {
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(v, low_));
    unsure = _mm512_cmpneq_epi32_mask(rounded, _mm512_cvtps_epi32(_mm512_mul_ps(v, high_)));
    return rounded;
  }

 private:
  static __m512 step(__m512 value, int direction) {
    const __m512i bits = _mm512_add_epi32(_mm512_castps_si512(value), _mm512_set1_epi32(direction));
    return _mm512_castsi512_ps(bits);
  }

  __m512 low_, high_;
};

// 64 bytes in order from four vectors of 16 int32 each, saturated.
inline __m512i pack_saturated(const __m512i v[4]) {
  const __m512i bytes =
      _mm512_packus_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, bytes);
}

// clamp(rne(fl(v / scale)) + zero_point, 0, 255), where a NaN counts as the lowest value.
class Quantizer {
 public:
  // scale is from 2^-100 to 2^100.
  Quantizer(float scale, int32_t zero_point)
      : scale_(_mm512_set1_ps(scale)),
        reciprocal_(scale_),
        most_(_mm512_set1_ps(600.0f * scale)),
        zero_point_(_mm512_set1_epi32(zero_point)) {}

  __m512i operator()(const __m512 values[4]) const {
    __m512 v[4];
    __m512i rounded[4];
    __mmask16 unsure[4];
    for (int k = 0; k < 4; ++k) {
      v[k] = _mm512_min_ps(most_, values[k]);  // leaves a NaN
      rounded[k] = reciprocal_(v[k], unsure[k]);
    }
    if ((unsure[0] | unsure[1] | unsure[2] | unsure[3]) != 0) [[unlikely]] {
      for (int k = 0; k < 4; ++k) rounded[k] = _mm512_cvtps_epi32(_mm512_div_ps(v[k], scale_));
    }
    for (int k = 0; k < 4; ++k) rounded[k] = _mm512_add_epi32(rounded[k], zero_point_);
    return pack_saturated(rounded);
  }

 private:
  __m512 scale_;
  Reciprocal reciprocal_;
  __m512 most_;
  __m512i zero_point_;
};

}  // namespace
}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_QUANTIZER_H_
