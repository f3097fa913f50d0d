#include "kernels/native/avx512vnni/softmax.h"

#include <immintrin.h>

#include "kernels/native/avx512vnni/quantizer.h"
#include "kernels/native/avx512vnni/transpose.h"

namespace furiosa::kernels::avx512vnni {
namespace {

static_assert(kSoftmaxRows == 64);

// The table of exponentials in registers, byte by byte: four lookups of 64 bytes take less than
// four gathers of 16 floats.
class Exponentials {
 public:
  explicit Exponentials(const uint8_t* planes) {
    for (int k = 0; k < 16; ++k) table_[k] = _mm512_loadu_si512(planes + 64 * k);
  }

  // Those of 64 indices. Lane k of vector i holds those of the indices 16 k + 4 i and on, as
  // pack_lanes() wants them.
  void operator()(__m512i index, __m512 values[4]) const {
    const __m512i first = byte(index, 0), second = byte(index, 1);
    const __m512i third = byte(index, 2), fourth = byte(index, 3);
    const __m512i low[2] = {_mm512_unpacklo_epi8(first, second),
                            _mm512_unpackhi_epi8(first, second)};
    const __m512i high[2] = {_mm512_unpacklo_epi8(third, fourth),
                             _mm512_unpackhi_epi8(third, fourth)};
    for (int k = 0; k < 2; ++k) {
      values[2 * k] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(low[k], high[k]));
      values[2 * k + 1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(low[k], high[k]));
    }
  }

 private:
  __m512i byte(__m512i index, int k) const {
    return look_up(index, table_[4 * k], table_[4 * k + 1], table_[4 * k + 2], table_[4 * k + 3]);
  }

  __m512i table_[16];
};

// 64 bytes, saturated, of integers in the order of Exponentials.
inline __m512i pack_lanes(const __m512i v[4]) {
  return _mm512_packus_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
}

// rne(fl(fl(e * factor) / sum)) in doubles.
inline __m512i divide_wide(__m512 e, double factor, __m512 sum) {
  const auto half = [factor](__m256 e_half, __m256 sum_half) {
    const __m512d v = _mm512_mul_pd(_mm512_cvtps_pd(e_half), _mm512_set1_pd(factor));
    return _mm512_cvtpd_epi32(_mm512_div_pd(v, _mm512_cvtps_pd(sum_half)));
  };
  const __m256i low = half(_mm512_castps512_ps256(e), _mm512_castps512_ps256(sum));
  const __m256i high = half(_mm512_extractf32x8_ps(e, 1), _mm512_extractf32x8_ps(sum, 1));
  return _mm512_inserti32x8(_mm512_castsi256_si512(low), high, 1);
}

}  // namespace

void softmax(const uint8_t* x, uint8_t* y, size_t length, float* scratch,
             const SoftmaxParameters& p) {
  __m512i most = _mm512_setzero_si512();
  for (size_t i = 0; i < length; ++i) {
    most = _mm512_max_epu8(most, _mm512_loadu_si512(x + i * kSoftmaxRows));
  }
  const __m512i shift = _mm512_sub_epi8(_mm512_set1_epi8(-1), most);
  const Exponentials exponentials(p.planes);
  const __m512 factor = _mm512_set1_ps(static_cast<float>(p.factor));
  __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                    _mm512_setzero_ps()};
  for (size_t i = 0; i < length; ++i) {
    __m512 e[4];
    exponentials(_mm512_add_epi8(_mm512_loadu_si512(x + i * kSoftmaxRows), shift), e);
    for (int k = 0; k < 4; ++k) {
      sums[k] = _mm512_add_ps(sums[k], e[k]);
      _mm512_storeu_ps(scratch + i * kSoftmaxRows + 16 * k, e[k]);
    }
  }
  const int steps = p.wide ? 4 : 1;
  const Reciprocal reciprocals[4] = {Reciprocal(sums[0], steps), Reciprocal(sums[1], steps),
                                     Reciprocal(sums[2], steps), Reciprocal(sums[3], steps)};
  const __m512i zero_point = _mm512_set1_epi32(p.zero_point);
  for (size_t i = 0; i < length; ++i) {
    __m512 e[4];
    __m512i rounded[4];
    __mmask16 unsure[4];
    for (int k = 0; k < 4; ++k) {
      e[k] = _mm512_loadu_ps(scratch + i * kSoftmaxRows + 16 * k);
      rounded[k] = reciprocals[k](_mm512_mul_ps(e[k], factor), unsure[k]);
    }
    if ((unsure[0] | unsure[1] | unsure[2] | unsure[3]) != 0) [[unlikely]] {
      for (int k = 0; k < 4; ++k) {
        rounded[k] = p.wide
                         ? divide_wide(e[k], p.factor, sums[k])
                         : _mm512_cvtps_epi32(_mm512_div_ps(_mm512_mul_ps(e[k], factor), sums[k]));
      }
    }
    for (int k = 0; k < 4; ++k) rounded[k] = _mm512_add_epi32(rounded[k], zero_point);
    _mm512_storeu_si512(y + i * kSoftmaxRows, pack_lanes(rounded));
  }
}

}  // namespace furiosa::kernels::avx512vnni
