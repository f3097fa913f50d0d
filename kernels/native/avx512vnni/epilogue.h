#ifndef FURIOSA_KERNELS_NATIVE_AVX512VNNI_EPILOGUE_H_
#define FURIOSA_KERNELS_NATIVE_AVX512VNNI_EPILOGUE_H_

// From accumulators to stored bytes. A panel of 16 * V columns has V accumulators for each row:
// column 4 * V * lane + 4 * v + i is element 4 * lane + i of accumulator v, where a lane is 128
// bits. So packing, which works within lanes, puts the bytes of a lane in column order. Where V is
// 1 or 2, the accumulators of four or two rows are packed together.

#include <immintrin.h>

#include "kernels/native/gemm.h"

namespace furiosa::kernels::avx512vnni {
namespace {

// Loops over registers must be unrolled; under the sanitizers, that would take minutes to compile.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FURIOSA_UNROLL
#else
#define FURIOSA_UNROLL _Pragma("GCC unroll 32")
#endif

// Slot of a column in a panel of V vectors.
FURIOSA_INLINE constexpr size_t slot_of(size_t column, size_t vectors) {
  return column % (4 * vectors) / 4 * 16 + column / (4 * vectors) * 4 + column % 4;
}

// Rows whose bytes fill a vector, and their accumulators.
template <int V>
constexpr int kRows = V == 1   ? 4
                      : V == 2 ? 2
                               : 1;
template <int V>
constexpr int kVectors = kRows<V> * V;

// From the order in which packing leaves bytes, lanes of kVectors<V> times four, to row after row
// of columns, and back.
template <int V>
FURIOSA_INLINE __m512i to_rows(__m512i packed) {
  if constexpr (V == 4) return packed;
  const __m512i order =
      V == 3   ? _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15)
      : V == 2 ? _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15)
               : _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, packed);
}

template <int V>
FURIOSA_INLINE __m512i to_packed(__m512i rows) {
  if constexpr (V == 4) return rows;
  const __m512i order =
      V == 3   ? _mm512_setr_epi32(0, 1, 2, 12, 3, 4, 5, 13, 6, 7, 8, 14, 9, 10, 11, 15)
      : V == 2 ? _mm512_setr_epi32(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15)
               : _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, rows);
}

FURIOSA_INLINE __mmask64 column_mask(size_t columns) {
  return columns >= 64 ? ~__mmask64{0} : (__mmask64{1} << columns) - 1;
}

// Pieces of a vector of 64 / kParts bytes each, at addresses of their own. All bytes of a piece are
// moved where `whole`, otherwise those of `mask`. A masked store of a whole cache line is slower
// than a plain one, which need not read the line.
template <int kParts>
FURIOSA_INLINE __m512i load_parts(const uint8_t* const* from, bool whole, __mmask64 mask) {
  if constexpr (kParts == 1) {
    return whole ? _mm512_loadu_si512(from[0]) : _mm512_maskz_loadu_epi8(mask, from[0]);
  } else if constexpr (kParts == 2) {
    const auto load = [whole, mask](const uint8_t* part) {
      return whole ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(part))
                   : _mm256_maskz_loadu_epi8(static_cast<__mmask32>(mask), part);
    };
    return _mm512_inserti64x4(_mm512_castsi256_si512(load(from[0])), load(from[1]), 1);
  } else {
    const auto load = [whole, mask](const uint8_t* part) {
      return whole ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(part))
                   : _mm_maskz_loadu_epi8(static_cast<__mmask16>(mask), part);
    };
    const __m256i low =
        _mm256_inserti128_si256(_mm256_castsi128_si256(load(from[0])), load(from[1]), 1);
    const __m256i high =
        _mm256_inserti128_si256(_mm256_castsi128_si256(load(from[2])), load(from[3]), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
}

FURIOSA_INLINE void store_part(uint8_t* to, bool whole, __mmask64 mask, __m128i bytes) {
  if (whole) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
  } else {
    _mm_mask_storeu_epi8(to, static_cast<__mmask16>(mask), bytes);
  }
}
FURIOSA_INLINE void store_part(uint8_t* to, bool whole, __mmask64 mask, __m256i bytes) {
  if (whole) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
  } else {
    _mm256_mask_storeu_epi8(to, static_cast<__mmask32>(mask), bytes);
  }
}
FURIOSA_INLINE void store_part(uint8_t* to, bool whole, __mmask64 mask, __m512i bytes) {
  if (whole) {
    _mm512_storeu_si512(to, bytes);
  } else {
    _mm512_mask_storeu_epi8(to, mask, bytes);
  }
}

// Stores the first `count` parts.
template <int kParts>
FURIOSA_INLINE void store_parts(uint8_t* const* to, bool whole, __mmask64 mask, __m512i bytes,
                                size_t count = kParts) {
  if constexpr (kParts == 1) {
    store_part(to[0], whole, mask, bytes);
  } else if constexpr (kParts == 2) {
    store_part(to[0], whole, mask, _mm512_castsi512_si256(bytes));
    if (count > 1) store_part(to[1], whole, mask, _mm512_extracti64x4_epi64(bytes, 1));
  } else {
    store_part(to[0], whole, mask, _mm512_castsi512_si128(bytes));
    if (count > 1) store_part(to[1], whole, mask, _mm512_extracti32x4_epi32(bytes, 1));
    if (count > 2) store_part(to[2], whole, mask, _mm512_extracti32x4_epi32(bytes, 2));
    if (count > 3) store_part(to[3], whole, mask, _mm512_extracti32x4_epi32(bytes, 3));
  }
}

// Rounds three or four vectors of values below 2^31, adds `shift` (16-bit elements) and saturates
// to bytes. Conversion makes values below -2^31 and NaN the least int32, which saturates to 0.
template <int kAll>
FURIOSA_INLINE __m512i round_to_bytes(const __m512 (&values)[kAll], __m512i shift) {
  __m512i whole[4];
  FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
    whole[v] = _mm512_cvtps_epi32(values[v < kAll ? v : kAll - 1]);
  }
  const __m512i low = _mm512_packs_epi32(whole[0], whole[1]);
  const __m512i high = _mm512_packs_epi32(whole[2], whole[3]);
  return _mm512_packus_epi16(_mm512_adds_epi16(low, shift), _mm512_adds_epi16(high, shift));
}

// The constants of a bounded epilogue in registers. A kernel has them in a local variable: the
// compiler would reload what is behind a pointer after every store of a byte.
struct Requantiser {
  __m512 low, high;
  __m512i zero_point;

  FURIOSA_INLINE explicit Requantiser(const Epilogue& epilogue)
      : low(_mm512_set1_ps(static_cast<float>(-epilogue.y_zero_point))),
        high(_mm512_set1_ps(static_cast<float>(255 - epilogue.y_zero_point))),
        zero_point(_mm512_set1_epi16(epilogue.y_zero_point)) {}

  FURIOSA_INLINE __m512 scale(__m512i accumulator, const float* multiplier) const {
    return _mm512_mul_ps(_mm512_cvtepi32_ps(accumulator), _mm512_load_ps(multiplier));
  }
  FURIOSA_INLINE __m512 limit(__m512 value) const {
    return _mm512_min_ps(_mm512_max_ps(value, low), high);
  }

  // The bytes of kRows<V> rows.
  template <int V>
  FURIOSA_INLINE __m512i operator()(const __m512i (&accumulators)[kVectors<V>],
                                    const float* multiplier) const {
    __m512 values[kVectors<V>];
    FURIOSA_UNROLL for (int v = 0; v < kVectors<V>; ++v) {
      values[v] = scale(accumulators[v], multiplier + v % V * 16);
    }
    return round_to_bytes<kVectors<V>>(values, zero_point);
  }
};

// A sum with this has no fraction: adding it rounds values up to 2^22 to integers.
constexpr float kRounding = 12582912.0f;  // 1.5 * 2^23
// A byte in the low bits of this number is added to it.
constexpr float kCarrier = 8388608.0f;  // 2^23

// The bytes less `shift`, as floats: vector v holds those of accumulator v. `carrier` is kCarrier
// plus shift.
template <int kAll>
FURIOSA_INLINE void widen(__m512i bytes, __m512 carrier, __m512 (&values)[kAll]) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i exponent = _mm512_set1_epi16(0x4B00);  // of kCarrier
  const __m512i low = _mm512_unpacklo_epi8(bytes, zero);
  const __m512i high = _mm512_unpackhi_epi8(bytes, zero);
  FURIOSA_UNROLL for (int v = 0; v < kAll; ++v) {
    const __m512i half = v < 2 ? low : high;
    const __m512i carried =
        v % 2 == 0 ? _mm512_unpacklo_epi16(half, exponent) : _mm512_unpackhi_epi16(half, exponent);
    values[v] = _mm512_sub_ps(_mm512_castsi512_ps(carried), carrier);
  }
}

// QLinearAdd of the convolution and the residual.
struct Adder {
  __m512 own_scale, other_scale, offset, carrier, unrounding;
  __m512i shift;
  bool residual_first;

  FURIOSA_INLINE explicit Adder(const Epilogue& epilogue)
      : own_scale(_mm512_set1_ps(epilogue.conv_scale)),
        other_scale(_mm512_set1_ps(epilogue.residual_scale)),
        offset(_mm512_set1_ps(epilogue.residual_offset)),
        carrier(_mm512_set1_ps(epilogue.is_signed ? kCarrier + 128.0f : kCarrier)),
        unrounding(_mm512_set1_ps(kRounding + (epilogue.is_signed ? 128.0f : 0.0f) -
                                  static_cast<float>(epilogue.y_zero_point))),
        shift(_mm512_set1_epi16(epilogue.is_signed ? 128 : 0)),
        residual_first(epilogue.residual_first) {}

  template <int kAll>
  FURIOSA_INLINE __m512i sum(const __m512 (&own)[kAll], const __m512 (&other)[kAll]) const {
    __m512 sums[kAll];
    FURIOSA_UNROLL for (int v = 0; v < kAll; ++v) {
      sums[v] =
          residual_first
              ? _mm512_fmadd_ps(other[v], other_scale, _mm512_fmadd_ps(own[v], own_scale, offset))
              : _mm512_fmadd_ps(own[v], own_scale, _mm512_fmadd_ps(other[v], other_scale, offset));
    }
    return round_to_bytes<kAll>(sums, shift);
  }

  // Of bytes.
  template <int V>
  FURIOSA_INLINE __m512i operator()(__m512i own, __m512i residual) const {
    __m512 q[kVectors<V>], r[kVectors<V>];
    widen(own, carrier, q);
    widen(residual, carrier, r);
    return sum(q, r);
  }

  // Of accumulators, whose bytes remain floats. Half of the vectors at a time: kernels that
  // multiply meanwhile have few registers left.
  template <int V>
  FURIOSA_INLINE __m512i operator()(const Requantiser& requantise,
                                    const __m512i (&accumulators)[kVectors<V>],
                                    const float* multiplier, __m512i residual) const {
    const __m512i zero = _mm512_setzero_si512();
    const __m512i low =
        half<V, 0>(requantise, accumulators, multiplier, _mm512_unpacklo_epi8(residual, zero));
    const __m512i high =
        half<V, 2>(requantise, accumulators, multiplier, _mm512_unpackhi_epi8(residual, zero));
    return _mm512_packus_epi16(low, high);
  }

  // Sums kFirst and, where there is one, kFirst + 1, as 16-bit integers.
  template <int V, int kFirst>
  FURIOSA_INLINE __m512i half(const Requantiser& requantise,
                              const __m512i (&accumulators)[kVectors<V>], const float* multiplier,
                              __m512i residual) const {
    const __m512i exponent = _mm512_set1_epi16(0x4B00);  // of kCarrier
    __m512i whole[2];
    FURIOSA_UNROLL for (int i = 0; i < 2; ++i) {
      constexpr int kLast = kVectors<V> - 1;
      const int v = kFirst + i < kLast ? kFirst + i : kLast;
      const __m512i carried = i == 0 ? _mm512_unpacklo_epi16(residual, exponent)
                                     : _mm512_unpackhi_epi16(residual, exponent);
      const __m512 other = _mm512_sub_ps(_mm512_castsi512_ps(carried), carrier);
      const __m512 value =
          requantise.limit(requantise.scale(accumulators[v], multiplier + v % V * 16));
      const __m512 own = _mm512_sub_ps(_mm512_add_ps(value, _mm512_set1_ps(kRounding)), unrounding);
      const __m512 sum =
          residual_first
              ? _mm512_fmadd_ps(other, other_scale, _mm512_fmadd_ps(own, own_scale, offset))
              : _mm512_fmadd_ps(own, own_scale, _mm512_fmadd_ps(other, other_scale, offset));
      whole[i] = _mm512_cvtps_epi32(sum);
    }
    return _mm512_adds_epi16(_mm512_packs_epi32(whole[0], whole[1]), shift);
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

// Takes kRows<V> rows through all that an epilogue may have, out of line: for what is rare.
template <int V>
[[gnu::noinline]] void finish_any(const PanelBlock& block, size_t row, const int32_t* sums) {
  const Epilogue& epilogue = *block.epilogue;
  for (size_t r = row; r < row + kRows<V> && r < block.row_count; ++r, sums += 16 * V) {
    for (size_t column = 0; column < block.columns; ++column) {
      const size_t slot = slot_of(column, V), channel = block.first_column + column;
      const float multiplier = block.scales->multiplier[slot];
      if (epilogue.to_float) {
        static_cast<float*>(block.y[r])[channel] = static_cast<float>(sums[slot]) * multiplier;
        continue;
      }
      const uint8_t* residual = epilogue.add_residual ? block.residual[r] + channel : nullptr;
      const uint8_t q = kernels::requantise(sums[slot], multiplier, epilogue.y_zero_point);
      static_cast<uint8_t*>(block.y[r])[channel] = finish(epilogue, q, channel, residual);
    }
  }
}

// The epilogues that have kernels of their own: requantise; look up in one table; add a residual,
// which may be followed by one table, too; and any other.
enum class Finish { kPlain, kTable, kAdd, kTableAdd, kAny };
constexpr size_t kFinishes = 5;

FURIOSA_INLINE Finish finish_of(const Epilogue& epilogue) {
  if (epilogue.to_float || epilogue.table_stride != 0 || !epilogue.bounded) return Finish::kAny;
  if (epilogue.residual_table != nullptr) return Finish::kAny;
  const bool table = epilogue.table != nullptr;
  if (epilogue.add_residual) return table ? Finish::kTableAdd : Finish::kAdd;
  return table ? Finish::kTable : Finish::kPlain;
}

// Takes kRows<V> rows of a block at a time through its epilogue.
template <int V, Finish kFinish>
struct Finisher {
  static constexpr int kAll = kVectors<V>;

  const PanelBlock& block;
  const Requantiser requantise;
  const Adder add;
  const uint8_t* const table;
  const float* const multiplier;
  const ptrdiff_t first_column;
  const __mmask64 mask;
  const bool whole;

  FURIOSA_INLINE explicit Finisher(const PanelBlock& all)
      : block(all),
        requantise(*all.epilogue),
        add(*all.epilogue),
        table(all.epilogue->table),
        multiplier(all.scales->multiplier),
        first_column(static_cast<ptrdiff_t>(all.first_column)),
        mask(column_mask(all.columns)),
        whole(all.columns == 64 / kRows<V>) {}

  FURIOSA_INLINE __m512i residual(size_t row) const {
    const uint8_t* from[kRows<V>];
    FURIOSA_UNROLL for (size_t r = 0; r < kRows<V>; ++r) {
      from[r] = block.residual[row + r] + first_column;
    }
    return to_packed<V>(load_parts<kRows<V>>(from, whole, mask));
  }

  FURIOSA_INLINE void operator()(size_t row, const __m512i (&sums)[kAll]) const {
    if constexpr (kFinish == Finish::kAny) {
      alignas(64) int32_t spilled[16 * kAll];
      FURIOSA_UNROLL for (int v = 0; v < kAll; ++v) _mm512_store_si512(spilled + 16 * v, sums[v]);
      return finish_any<V>(block, row, spilled);
    }
    __m512i bytes;
    if constexpr (kFinish == Finish::kAdd) {
      bytes = add.template operator()<V>(requantise, sums, multiplier, residual(row));
    } else {
      bytes = requantise.template operator()<V>(sums, multiplier);
      if constexpr (kFinish != Finish::kPlain) bytes = look_up(table, bytes);
      if constexpr (kFinish == Finish::kTableAdd) {
        bytes = add.template operator()<V>(bytes, residual(row));
      }
    }
    uint8_t* to[kRows<V>];
    FURIOSA_UNROLL for (size_t r = 0; r < kRows<V>; ++r) {
      to[r] = static_cast<uint8_t*>(block.y[row + r]) + first_column;
    }
    store_parts<kRows<V>>(to, whole, mask, to_rows<V>(bytes));
  }
};

}  // namespace
}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_EPILOGUE_H_
