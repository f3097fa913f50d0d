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

// Slot of a column in a panel of V vectors.
FURIOSA_INLINE size_t slot_of(size_t column, size_t vectors) {
  return column % (4 * vectors) / 4 * 16 + column / (4 * vectors) * 4 + column % 4;
}

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

// Rounds V vectors of values below 2^31, adds `shift` (16-bit elements) and saturates to bytes.
// Conversion makes values below -2^31 and NaN the least int32, which saturates to 0.
template <int V>
FURIOSA_INLINE __m512i round_to_bytes(const __m512 (&values)[V], __m512i shift) {
  __m512i whole[4];
  FURIOSA_UNROLL for (int v = 0; v < 4; ++v) whole[v] = _mm512_cvtps_epi32(values[v < V ? v : 0]);
  const __m512i low = _mm512_packs_epi32(whole[0], whole[V > 1 ? 1 : 0]);
  const __m512i low_sum = _mm512_adds_epi16(low, shift);
  if constexpr (V <= 2) return _mm512_packus_epi16(low_sum, low_sum);
  const __m512i high = _mm512_packs_epi32(whole[2], whole[V > 3 ? 3 : 2]);
  return _mm512_packus_epi16(low_sum, _mm512_adds_epi16(high, shift));
}

// The constants of an epilogue in registers. A kernel has them in a local variable: the compiler
// would reload what is behind a pointer after every store of a byte.
struct Requantiser {
  __m512 low, high;
  __m512i zero_point;

  FURIOSA_INLINE explicit Requantiser(const Epilogue& epilogue)
      : low(_mm512_set1_ps(static_cast<float>(-epilogue.y_zero_point))),
        high(_mm512_set1_ps(static_cast<float>(255 - epilogue.y_zero_point))),
        zero_point(_mm512_set1_epi16(epilogue.y_zero_point)) {}

  FURIOSA_INLINE __m512 scale(__m512i accumulator, const float* multiplier) const {
    const __m512 factor = _mm512_load_ps(multiplier);
    // In this order a NaN stays one.
    return _mm512_min_ps(high, _mm512_mul_ps(_mm512_cvtepi32_ps(accumulator), factor));
  }

  template <int V>
  FURIOSA_INLINE __m512i operator()(const __m512i (&accumulators)[V],
                                    const float* multiplier) const {
    __m512 values[V];
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
      values[v] = scale(accumulators[v], multiplier + 16 * v);
    }
    return round_to_bytes<V>(values, zero_point);
  }
};

// A sum with this has no fraction: adding it rounds values up to 2^22 to integers.
constexpr float kRounding = 12582912.0f;  // 1.5 * 2^23
// A byte in the low bits of this number is added to it.
constexpr float kCarrier = 8388608.0f;  // 2^23

// The bytes less `shift`, as floats: vector v holds those of accumulator v. `carrier` is kCarrier
// plus shift.
template <int V>
FURIOSA_INLINE void widen(__m512i bytes, __m512 carrier, __m512 (&values)[V]) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i exponent = _mm512_set1_epi16(0x4B00);  // of kCarrier
  const __m512i low = _mm512_unpacklo_epi8(bytes, zero);
  const __m512i high = _mm512_unpackhi_epi8(bytes, zero);
  FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
    const __m512i half = v < 2 ? low : high;
    const __m512i carried =
        v % 2 == 0 ? _mm512_unpacklo_epi16(half, exponent) : _mm512_unpackhi_epi16(half, exponent);
    values[v] = _mm512_sub_ps(_mm512_castsi512_ps(carried), carrier);
  }
}

// QLinearAdd of the convolution and the residual.
struct Adder {
  __m512 own_scale, other_scale, offset, high, carrier, unrounding;
  __m512i shift;
  bool residual_first;

  FURIOSA_INLINE explicit Adder(const Epilogue& epilogue)
      : own_scale(_mm512_set1_ps(epilogue.conv_scale)),
        other_scale(_mm512_set1_ps(epilogue.residual_scale)),
        offset(_mm512_set1_ps(epilogue.residual_offset)),
        high(_mm512_set1_ps(epilogue.is_signed ? 127.0f : 255.0f)),
        carrier(_mm512_set1_ps(epilogue.is_signed ? kCarrier + 128.0f : kCarrier)),
        unrounding(_mm512_set1_ps(kRounding + (epilogue.is_signed ? 128.0f : 0.0f) -
                                  static_cast<float>(epilogue.y_zero_point))),
        shift(_mm512_set1_epi16(epilogue.is_signed ? 128 : 0)),
        residual_first(epilogue.residual_first) {}

  template <int V>
  FURIOSA_INLINE __m512i add(const __m512 (&own)[V], const __m512 (&other)[V]) const {
    __m512 sums[V];
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
      const __m512 sum =
          residual_first
              ? _mm512_fmadd_ps(other[v], other_scale, _mm512_fmadd_ps(own[v], own_scale, offset))
              : _mm512_fmadd_ps(own[v], own_scale, _mm512_fmadd_ps(other[v], other_scale, offset));
      sums[v] = _mm512_min_ps(high, sum);
    }
    return round_to_bytes<V>(sums, shift);
  }

  // Of bytes.
  template <int V>
  FURIOSA_INLINE __m512i operator()(__m512i own, __m512i residual) const {
    __m512 q[V], r[V];
    widen<V>(own, carrier, q);
    widen<V>(residual, carrier, r);
    return add<V>(q, r);
  }

  // Of accumulators, whose bytes remain floats.
  template <int V>
  FURIOSA_INLINE __m512i operator()(const Requantiser& requantise, const __m512i (&accumulators)[V],
                                    const float* multiplier, __m512i residual) const {
    __m512 q[V], r[V];
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
      const __m512 scaled = requantise.scale(accumulators[v], multiplier + 16 * v);
      const __m512 value = _mm512_max_ps(scaled, requantise.low);  // in this order a NaN is low
      q[v] = _mm512_sub_ps(_mm512_add_ps(value, _mm512_set1_ps(kRounding)), unrounding);
    }
    widen<V>(residual, carrier, r);
    return add<V>(q, r);
  }
};

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

// Stores a row with whatever the epilogue has, out of line: for what is rare.
template <int V>
[[gnu::noinline]] void store_any(const PanelBlock& block, size_t row, const int32_t* slots) {
  const Epilogue& epilogue = *block.epilogue;
  if (epilogue.to_float) {
    float* to = static_cast<float*>(block.y[row]) + block.first_column;
    for (size_t column = 0; column < block.columns; ++column) {
      const size_t slot = slot_of(column, V);
      to[column] = static_cast<float>(slots[slot]) * block.scales->multiplier[slot];
    }
    return;
  }
  __m512i accumulators[V];
  FURIOSA_UNROLL for (int v = 0; v < V; ++v) accumulators[v] = _mm512_load_si512(slots + 16 * v);
  __m512i bytes = Requantiser(epilogue)(accumulators, block.scales->multiplier);
  if (epilogue.table != nullptr) {
    bytes = look_up<V>(epilogue.table, epilogue.table_stride, block, bytes);
  }
  if (epilogue.add_residual) {
    const uint8_t* from = block.residual[row] + block.first_column;
    const __m512i residual = open_gaps<V>(load_columns<V>(from, block.columns));
    bytes = Adder(epilogue).template operator()<V>(bytes, residual);
    if (epilogue.residual_table != nullptr) {
      bytes = look_up<V>(epilogue.residual_table, epilogue.residual_table_stride, block, bytes);
    }
  }
  uint8_t* to = static_cast<uint8_t*>(block.y[row]) + block.first_column;
  store_columns<V>(to, block.columns, close_gaps<V>(bytes));
}

// The epilogues that have kernels of their own: requantise, then look up in one table or add the
// residual; and any other.
enum class Finish { kPlain, kTable, kAdd, kAny };
constexpr size_t kFinishes = 4;

FURIOSA_INLINE Finish finish_of(const Epilogue& epilogue) {
  if (epilogue.to_float || epilogue.table_stride != 0) return Finish::kAny;
  if (epilogue.add_residual) {
    const bool tables = epilogue.table != nullptr || epilogue.residual_table != nullptr;
    return tables ? Finish::kAny : Finish::kAdd;
  }
  return epilogue.table == nullptr ? Finish::kPlain : Finish::kTable;
}

// Takes rows of a block through its epilogue.
template <int V, Finish kFinish>
struct Finisher {
  const PanelBlock& block;
  const Requantiser requantise;
  const Adder add;
  const uint8_t* const table;
  const float* const multiplier;
  const size_t first_column, columns;

  FURIOSA_INLINE explicit Finisher(const PanelBlock& all)
      : block(all),
        requantise(*all.epilogue),
        add(*all.epilogue),
        table(all.epilogue->table),
        multiplier(all.scales->multiplier),
        first_column(all.first_column),
        columns(all.columns) {}

  FURIOSA_INLINE void operator()(size_t row, const __m512i (&accumulators)[V]) const {
    if constexpr (kFinish == Finish::kAny) {
      alignas(64) int32_t slots[16 * V];
      FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
        _mm512_store_si512(slots + 16 * v, accumulators[v]);
      }
      store_any<V>(block, row, slots);
      return;
    }
    __m512i bytes;
    if constexpr (kFinish == Finish::kAdd) {
      const uint8_t* from = block.residual[row] + first_column;
      const __m512i residual = open_gaps<V>(load_columns<V>(from, columns));
      bytes = add.template operator()<V>(requantise, accumulators, multiplier, residual);
    } else {
      bytes = requantise(accumulators, multiplier);
      if constexpr (kFinish == Finish::kTable) bytes = look_up(table, bytes);
    }
    uint8_t* to = static_cast<uint8_t*>(block.y[row]) + first_column;
    store_columns<V>(to, columns, close_gaps<V>(bytes));
  }
};

}  // namespace
}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_EPILOGUE_H_
