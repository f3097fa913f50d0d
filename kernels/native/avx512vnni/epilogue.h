#ifndef FURIOSA_KERNELS_NATIVE_AVX512VNNI_EPILOGUE_H_
#define FURIOSA_KERNELS_NATIVE_AVX512VNNI_EPILOGUE_H_

// From accumulators to stored bytes. A panel of 16 * V columns has V accumulators for each row:
// column 4 * V * lane + 4 * v + i is element 4 * lane + i of accumulator v, where a lane is 128
// bits. So packing, which works within lanes, puts the bytes of a lane in column order.

#include <immintrin.h>

#include "kernels/native/gemm.h"

namespace furiosa::kernels::avx512vnni {
namespace {

#define FURIOSA_UNROLL _Pragma("GCC unroll 32")

// The order of doublewords that closes the gaps which lanes of 4 * V < 16 bytes leave, and back.
template <int V>
FURIOSA_INLINE __m512i close_gaps(__m512i bytes) {
  if constexpr (V == 4) return bytes;
  const __m512i order =
      V == 3   ? _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0)
      : V == 2 ? _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0)
               : _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_permutexvar_epi32(order, bytes);
}

template <int V>
FURIOSA_INLINE __m512i open_gaps(__m512i bytes) {
  if constexpr (V == 4) return bytes;
  const __m512i order = V == 3 ? _mm512_setr_epi32(0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10, 11, 0)
                        : V == 2
                            ? _mm512_setr_epi32(0, 1, 0, 0, 2, 3, 0, 0, 4, 5, 0, 0, 6, 7, 0, 0)
                            : _mm512_setr_epi32(0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0);
  return _mm512_permutexvar_epi32(order, bytes);
}

FURIOSA_INLINE __mmask64 column_mask(size_t columns) {
  return columns >= 64 ? ~__mmask64{0} : (__mmask64{1} << columns) - 1;
}

// Loads or stores the bytes of a row's columns. Masked accesses are slow on some CPUs, so whole
// vectors do without.
template <int V>
FURIOSA_INLINE __m512i load_columns(const uint8_t* from, size_t columns) {
  if (V == 4 && columns == 64) return _mm512_loadu_si512(from);
  return _mm512_maskz_loadu_epi8(column_mask(columns), from);
}

template <int V>
FURIOSA_INLINE void store_columns(uint8_t* to, size_t columns, __m512i bytes) {
  if (columns != 16 * V) {
    _mm512_mask_storeu_epi8(to, column_mask(columns), bytes);
  } else if constexpr (V == 4) {
    _mm512_storeu_si512(to, bytes);
  } else if constexpr (V == 1) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_castsi512_si128(bytes));
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(bytes));
    if constexpr (V == 3) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32), _mm512_extracti32x4_epi32(bytes, 2));
    }
  }
}

// Rounds V vectors of values below 2^31, adds `zero_point` (16-bit elements) and saturates to
// bytes. Conversion makes values below -2^31 and NaN the least int32, which saturates to 0.
template <int V>
FURIOSA_INLINE __m512i round_to_bytes(const __m512 (&values)[V], __m512i zero_point) {
  __m512i whole[4];
  FURIOSA_UNROLL for (int v = 0; v < 4; ++v) whole[v] = _mm512_cvtps_epi32(values[v < V ? v : 0]);
  const __m512i low = _mm512_packs_epi32(whole[0], whole[V > 1 ? 1 : 0]);
  const __m512i low_sum = _mm512_adds_epi16(low, zero_point);
  if constexpr (V <= 2) return _mm512_packus_epi16(low_sum, low_sum);
  const __m512i high = _mm512_packs_epi32(whole[2], whole[V > 3 ? 3 : 2]);
  return _mm512_packus_epi16(low_sum, _mm512_adds_epi16(high, zero_point));
}

template <int V>
FURIOSA_INLINE __m512i requantise(const __m512i (&accumulators)[V], const float* multiplier,
                                  const Epilogue& epilogue) {
  const __m512 high = _mm512_set1_ps(static_cast<float>(255 - epilogue.y_zero_point));
  __m512 values[V];
  FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
    const __m512 scaled =
        _mm512_mul_ps(_mm512_cvtepi32_ps(accumulators[v]), _mm512_load_ps(multiplier + 16 * v));
    values[v] = _mm512_min_ps(high, scaled);  // in this order a NaN stays one
  }
  return round_to_bytes<V>(values, _mm512_set1_epi16(epilogue.y_zero_point));
}

// The bytes, widened: vector v holds those of accumulator v.
template <int V>
FURIOSA_INLINE void widen(__m512i bytes, __m512 (&values)[V]) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i low = _mm512_unpacklo_epi8(bytes, zero);
  const __m512i high = _mm512_unpackhi_epi8(bytes, zero);
  FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
    const __m512i half = v < 2 ? low : high;
    values[v] = _mm512_cvtepi32_ps(v % 2 == 0 ? _mm512_unpacklo_epi16(half, zero)
                                              : _mm512_unpackhi_epi16(half, zero));
  }
}

// `bytes` through one table.
FURIOSA_INLINE __m512i look_up(const uint8_t* table, __m512i bytes) {
  const __m512i lower =
      _mm512_permutex2var_epi8(_mm512_loadu_si512(table), bytes, _mm512_loadu_si512(table + 64));
  const __m512i upper = _mm512_permutex2var_epi8(_mm512_loadu_si512(table + 128), bytes,
                                                 _mm512_loadu_si512(table + 192));
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), lower, upper);
}

// `bytes`, with gaps, through one table or through that of each column.
template <int V>
FURIOSA_INLINE __m512i look_up(const uint8_t* table, size_t stride, const PanelBlock& block,
                               __m512i bytes) {
  if (stride == 0) return look_up(table, bytes);
  alignas(64) uint8_t columns[64];
  _mm512_store_si512(columns, close_gaps<V>(bytes));
  table += block.first_column * stride;
  for (size_t c = 0; c < block.columns; ++c) columns[c] = table[c * stride + columns[c]];
  return open_gaps<V>(_mm512_load_si512(columns));
}

template <int V>
FURIOSA_INLINE __m512i add_residual(const Epilogue& epilogue, __m512i own, __m512i other) {
  const float shift = epilogue.is_signed ? 128.0f : 0.0f;
  const __m512 high = _mm512_set1_ps(255.0f - shift), shifts = _mm512_set1_ps(shift);
  const __m512 own_scale = _mm512_set1_ps(epilogue.conv_scale);
  const __m512 other_scale = _mm512_set1_ps(epilogue.residual_scale);
  const __m512 offset = _mm512_set1_ps(epilogue.residual_offset);
  __m512 q[V], r[V];
  widen<V>(own, q);
  widen<V>(other, r);
  FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
    q[v] = _mm512_sub_ps(q[v], shifts);
    r[v] = _mm512_sub_ps(r[v], shifts);
    const __m512 sum =
        epilogue.residual_first
            ? _mm512_fmadd_ps(r[v], other_scale, _mm512_fmadd_ps(q[v], own_scale, offset))
            : _mm512_fmadd_ps(q[v], own_scale, _mm512_fmadd_ps(r[v], other_scale, offset));
    q[v] = _mm512_min_ps(high, sum);
  }
  return round_to_bytes<V>(q, _mm512_set1_epi16(epilogue.is_signed ? 128 : 0));
}

// Stores a row of bytes that are only requantised.
template <int V>
FURIOSA_INLINE void store_plain(const PanelBlock& block, size_t row,
                                const __m512i (&accumulators)[V]) {
  const __m512i bytes = requantise<V>(accumulators, block.scales->multiplier, *block.epilogue);
  uint8_t* to = static_cast<uint8_t*>(block.y[row]) + block.first_column;
  store_columns<V>(to, block.columns, close_gaps<V>(bytes));
}

// Stores a row of bytes with whatever else the epilogue has.
template <int V>
FURIOSA_INLINE void store_bytes(const PanelBlock& block, size_t row,
                                const __m512i (&accumulators)[V]) {
  const Epilogue& epilogue = *block.epilogue;
  __m512i bytes = requantise<V>(accumulators, block.scales->multiplier, epilogue);
  if (epilogue.table != nullptr) {
    bytes = look_up<V>(epilogue.table, epilogue.table_stride, block, bytes);
  }
  if (epilogue.add_residual) {
    const uint8_t* from = block.residual[row] + block.first_column;
    const __m512i residual = open_gaps<V>(load_columns<V>(from, block.columns));
    bytes = add_residual<V>(epilogue, bytes, residual);
    if (epilogue.residual_table != nullptr) {
      bytes = look_up<V>(epilogue.residual_table, epilogue.residual_table_stride, block, bytes);
    }
  }
  uint8_t* to = static_cast<uint8_t*>(block.y[row]) + block.first_column;
  store_columns<V>(to, block.columns, close_gaps<V>(bytes));
}

// Stores a row of float32.
template <int V>
FURIOSA_INLINE void store_floats(const PanelBlock& block, size_t row,
                                 const __m512i (&accumulators)[V]) {
  alignas(64) float slots[16 * V];
  FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
    const __m512 multiplier = _mm512_load_ps(block.scales->multiplier + 16 * v);
    _mm512_store_ps(slots + 16 * v, _mm512_mul_ps(_mm512_cvtepi32_ps(accumulators[v]), multiplier));
  }
  float* to = static_cast<float*>(block.y[row]) + block.first_column;
  for (size_t column = 0; column < block.columns; ++column) {
    to[column] = slots[column % (4 * V) / 4 * 16 + column / (4 * V) * 4 + column % 4];
  }
}

enum class Result { kPlain, kBytes, kFloats };

FURIOSA_INLINE Result result_of(const Epilogue& epilogue) {
  if (epilogue.to_float) return Result::kFloats;
  return epilogue.table == nullptr && !epilogue.add_residual ? Result::kPlain : Result::kBytes;
}

template <int V, Result kResult>
FURIOSA_INLINE void store(const PanelBlock& block, size_t row, const __m512i (&accumulators)[V]) {
  if constexpr (kResult == Result::kPlain) store_plain<V>(block, row, accumulators);
  if constexpr (kResult == Result::kBytes) store_bytes<V>(block, row, accumulators);
  if constexpr (kResult == Result::kFloats) store_floats<V>(block, row, accumulators);
}

// Slot of a column in a panel of V vectors.
FURIOSA_INLINE size_t slot_of(size_t column, size_t vectors) {
  return column % (4 * vectors) / 4 * 16 + column / (4 * vectors) * 4 + column % 4;
}

}  // namespace
}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_EPILOGUE_H_
