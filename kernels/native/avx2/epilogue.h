#ifndef FURIOSA_KERNELS_NATIVE_AVX2_EPILOGUE_H_
#define FURIOSA_KERNELS_NATIVE_AVX2_EPILOGUE_H_

#include <immintrin.h>

#include <cstring>

#include "kernels/native/gemm.h"

namespace furiosa::kernels::avx2 {
namespace {

// Rounds 32 values below 2^31, adds `zero_point` (16-bit elements) and saturates to bytes.
// Conversion makes values below -2^31 and NaN the least int32, which saturates to 0.
FURIOSA_INLINE __m256i round_to_bytes(const __m256 (&values)[4], __m256i zero_point) {
  const __m256i low =
      _mm256_packs_epi32(_mm256_cvtps_epi32(values[0]), _mm256_cvtps_epi32(values[1]));
  const __m256i high =
      _mm256_packs_epi32(_mm256_cvtps_epi32(values[2]), _mm256_cvtps_epi32(values[3]));
  const __m256i bytes =
      _mm256_packus_epi16(_mm256_adds_epi16(low, zero_point), _mm256_adds_epi16(high, zero_point));
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

FURIOSA_INLINE void requantise_row(const PanelBlock& block, const int32_t* accumulators,
                                   uint8_t* bytes) {
  const int zero_point = block.epilogue->y_zero_point;
  const __m256 high = _mm256_set1_ps(static_cast<float>(255 - zero_point));
  for (size_t column = 0; column < block.columns; column += 32) {
    __m256 values[4];
    for (size_t i = 0; i < 4; ++i) {
      const size_t at = column + 8 * i;
      const __m256i sum = _mm256_load_si256(reinterpret_cast<const __m256i*>(accumulators + at));
      const __m256 scaled =
          _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_load_ps(block.scales->multiplier + at));
      values[i] = _mm256_min_ps(high, scaled);  // in this order a NaN stays one
    }
    const __m256i rounded =
        round_to_bytes(values, _mm256_set1_epi16(static_cast<int16_t>(zero_point)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes + column), rounded);
  }
}

// Replaces the bytes by their sums with the residual's.
FURIOSA_INLINE void add_residual_row(const Epilogue& epilogue, uint8_t* bytes,
                                     const uint8_t* residual, size_t columns) {
  const float shift = epilogue.is_signed ? 128.0f : 0.0f;
  const __m256 high = _mm256_set1_ps(255.0f - shift), shifts = _mm256_set1_ps(shift);
  const __m256 own_scale = _mm256_set1_ps(epilogue.conv_scale);
  const __m256 other_scale = _mm256_set1_ps(epilogue.residual_scale);
  const __m256 offset = _mm256_set1_ps(epilogue.residual_offset);
  alignas(32) uint8_t other[kPanelColumns];
  std::memcpy(other, residual, columns);
  for (size_t column = 0; column < columns; column += 32) {
    __m256 values[4];
    for (size_t i = 0; i < 4; ++i) {
      const size_t at = column + 8 * i;
      const auto widen = [at, shifts](const uint8_t* from) {
        const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + at));
        return _mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight)), shifts);
      };
      const __m256 q = widen(bytes), r = widen(other);
      const __m256 sum =
          epilogue.residual_first
              ? _mm256_fmadd_ps(r, other_scale, _mm256_fmadd_ps(q, own_scale, offset))
              : _mm256_fmadd_ps(q, own_scale, _mm256_fmadd_ps(r, other_scale, offset));
      values[i] = _mm256_min_ps(high, sum);
    }
    const __m256i rounded = round_to_bytes(values, _mm256_set1_epi16(epilogue.is_signed ? 128 : 0));
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes + column), rounded);
  }
}

FURIOSA_INLINE void look_up_row(const uint8_t* table, size_t stride, const PanelBlock& block,
                                uint8_t* bytes) {
  if (table == nullptr) return;
  table += block.first_column * stride;
  for (size_t column = 0; column < block.columns; ++column) {
    bytes[column] = table[column * stride + bytes[column]];
  }
}

// Takes the accumulators of a row, kPanelColumns of them, through the epilogue.
FURIOSA_INLINE void store_row(const PanelBlock& block, size_t row, const int32_t* accumulators) {
  const Epilogue& epilogue = *block.epilogue;
  if (epilogue.to_float) {
    float* to = static_cast<float*>(block.y[row]) + block.first_column;
    for (size_t column = 0; column < block.columns; ++column) {
      to[column] = static_cast<float>(accumulators[column]) * block.scales->multiplier[column];
    }
    return;
  }
  alignas(32) uint8_t bytes[kPanelColumns];
  requantise_row(block, accumulators, bytes);
  look_up_row(epilogue.table, epilogue.table_stride, block, bytes);
  if (epilogue.add_residual) {
    add_residual_row(epilogue, bytes, block.residual[row] + block.first_column, block.columns);
    look_up_row(epilogue.residual_table, epilogue.residual_table_stride, block, bytes);
  }
  std::memcpy(static_cast<uint8_t*>(block.y[row]) + block.first_column, bytes, block.columns);
}

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_EPILOGUE_H_
