#ifndef FURIOSA_KERNELS_NATIVE_AVX2_EPILOGUE_H_
#define FURIOSA_KERNELS_NATIVE_AVX2_EPILOGUE_H_

// From accumulators to stored bytes, for AVX2 and AVX-VNNI. A stripe of 8 * V columns has V
// accumulators for each row: column 4 * V * lane + 4 * v + i is element 4 * lane + i of accumulator
// v, where a lane is 128 bits. So packing, which works within lanes, puts the bytes of a lane in
// column order. Four accumulators are packed together: those of 4 / V rows.

#include <immintrin.h>

#include "kernels/native/avx2/bytes.h"
#include "kernels/native/avx2/table.h"
#include "kernels/native/gemm.h"

namespace furiosa::kernels::avx2 {
namespace {

// Slot of a column in a stripe of V accumulators.
FURIOSA_INLINE size_t slot_of(size_t column, size_t v) {
  return column % (4 * v) / 4 * 8 + column / (4 * v) * 4 + column % 4;
}

// From the order in which packing leaves bytes to row after row of columns, and back.
template <int V>
FURIOSA_INLINE __m256i to_rows(__m256i packed) {
  if constexpr (V == 4) return packed;
  if constexpr (V == 2) return _mm256_permute4x64_epi64(packed, 0xD8);
  return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

template <int V>
FURIOSA_INLINE __m256i to_packed(__m256i rows) {
  if constexpr (V == 4) return rows;
  if constexpr (V == 2) return _mm256_permute4x64_epi64(rows, 0xD8);
  return _mm256_permutevar8x32_epi32(rows, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}

// Rounds 32 values below 2^31, adds `shift` (16-bit elements) and saturates to bytes. Conversion
// makes values below -2^31 and NaN the least int32, which saturates to 0.
FURIOSA_INLINE __m256i round_to_bytes(const __m256 (&values)[4], __m256i shift) {
  const __m256i low =
      _mm256_packs_epi32(_mm256_cvtps_epi32(values[0]), _mm256_cvtps_epi32(values[1]));
  const __m256i high =
      _mm256_packs_epi32(_mm256_cvtps_epi32(values[2]), _mm256_cvtps_epi32(values[3]));
  return _mm256_packus_epi16(_mm256_adds_epi16(low, shift), _mm256_adds_epi16(high, shift));
}

struct Requantiser {
  __m256 low, high;
  __m256i zero_point;

  FURIOSA_INLINE explicit Requantiser(const Epilogue& epilogue)
      : low(_mm256_set1_ps(static_cast<float>(-epilogue.y_zero_point))),
        high(_mm256_set1_ps(static_cast<float>(255 - epilogue.y_zero_point))),
        zero_point(_mm256_set1_epi16(epilogue.y_zero_point)) {}

  FURIOSA_INLINE __m256 scale(__m256i accumulator, const float* multiplier) const {
    const __m256 factor = _mm256_load_ps(multiplier);
    // In this order a NaN stays one.
    return _mm256_min_ps(high, _mm256_mul_ps(_mm256_cvtepi32_ps(accumulator), factor));
  }

  // The bytes of rows with V accumulators each.
  template <int V>
  FURIOSA_INLINE __m256i bytes(const __m256i (&accumulators)[4], const float* multiplier) const {
    __m256 values[4];
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      values[v] = scale(accumulators[v], multiplier + v % V * 8);
    }
    return round_to_bytes(values, zero_point);
  }
};

// A sum with this has no fraction: adding it rounds values up to 2^22 to integers.
constexpr float kRounding = 12582912.0f;  // 1.5 * 2^23
// A byte in the low bits of this number is added to it.
constexpr float kCarrier = 8388608.0f;  // 2^23

// QLinearAdd of the convolution and the residual.
struct Adder {
  __m256 own_scale, other_scale, offset, high, carrier, unrounding;
  __m256i shift;
  bool residual_first;

  FURIOSA_INLINE explicit Adder(const Epilogue& epilogue)
      : own_scale(_mm256_set1_ps(epilogue.conv_scale)),
        other_scale(_mm256_set1_ps(epilogue.residual_scale)),
        offset(_mm256_set1_ps(epilogue.residual_offset)),
        high(_mm256_set1_ps(epilogue.is_signed ? 127.0f : 255.0f)),
        carrier(_mm256_set1_ps(epilogue.is_signed ? kCarrier + 128.0f : kCarrier)),
        unrounding(_mm256_set1_ps(kRounding + (epilogue.is_signed ? 128.0f : 0.0f) -
                                  static_cast<float>(epilogue.y_zero_point))),
        shift(_mm256_set1_epi16(epilogue.is_signed ? 128 : 0)),
        residual_first(epilogue.residual_first) {}

  // Bytes as they are packed, less the shift.
  FURIOSA_INLINE void widen(__m256i bytes, __m256 (&values)[4]) const {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i exponent = _mm256_set1_epi16(0x4B00);  // of kCarrier
    const __m256i halves[2] = {_mm256_unpacklo_epi8(bytes, zero),
                               _mm256_unpackhi_epi8(bytes, zero)};
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      const __m256i carried = v % 2 == 0 ? _mm256_unpacklo_epi16(halves[v / 2], exponent)
                                         : _mm256_unpackhi_epi16(halves[v / 2], exponent);
      values[v] = _mm256_sub_ps(_mm256_castsi256_ps(carried), carrier);
    }
  }

  FURIOSA_INLINE __m256i sum(const __m256 (&own)[4], const __m256 (&other)[4]) const {
    __m256 sums[4];
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      const __m256 value =
          residual_first
              ? _mm256_fmadd_ps(other[v], other_scale, _mm256_fmadd_ps(own[v], own_scale, offset))
              : _mm256_fmadd_ps(own[v], own_scale, _mm256_fmadd_ps(other[v], other_scale, offset));
      sums[v] = _mm256_min_ps(high, value);
    }
    return round_to_bytes(sums, shift);
  }

  // Of bytes as they are packed.
  FURIOSA_INLINE __m256i operator()(__m256i own, __m256i residual) const {
    __m256 q[4], r[4];
    widen(own, q);
    widen(residual, r);
    return sum(q, r);
  }

  // Of accumulators, whose bytes remain floats.
  template <int V>
  FURIOSA_INLINE __m256i operator()(const Requantiser& requantise, const __m256i (&accumulators)[4],
                                    const float* multiplier, __m256i residual) const {
    __m256 q[4], r[4];
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      const __m256 scaled = requantise.scale(accumulators[v], multiplier + v % V * 8);
      const __m256 value = _mm256_max_ps(scaled, requantise.low);  // in this order a NaN is low
      q[v] = _mm256_sub_ps(_mm256_add_ps(value, _mm256_set1_ps(kRounding)), unrounding);
    }
    widen(residual, r);
    return sum(q, r);
  }
};

// The epilogue of a block, prepared once for all of its rows.
class Finisher {
 public:
  FURIOSA_INLINE explicit Finisher(const PanelBlock& block)
      : block_(block),
        requantise_(*block.epilogue),
        add_(*block.epilogue),
        table_(block.epilogue->table_stride == 0 ? block.epilogue->table : nullptr),
        residual_table_(block.epilogue->residual_table_stride == 0 ? block.epilogue->residual_table
                                                                   : nullptr),
        kind_(kind(*block.epilogue)) {}

  // Takes the accumulators of rows [row, row + R), of the stripe that starts at `column` of the
  // panel, to what is stored.
  template <int R, int V>
  FURIOSA_INLINE void store(size_t row, size_t column, const __m256i (&sums)[R][V]) const {
    static_assert(R * V % 4 == 0 && R <= static_cast<int>(kSpareRows));
    if (kind_ == Kind::kPlain || kind_ == Kind::kAdd) {
      FURIOSA_UNROLL for (int g = 0; g < R * V / 4; ++g) {
        __m256i group[4];
        FURIOSA_UNROLL for (int i = 0; i < 4; ++i) {
          group[i] = sums[(4 * g + i) / V][(4 * g + i) % V];
        }
        store_simple<V>(row + static_cast<size_t>(4 * g / V), column, group);
      }
      return;
    }
    __m256i spilled[R * V];
    FURIOSA_UNROLL for (int i = 0; i < R * V; ++i) spilled[i] = sums[i / V][i % V];
    if (kind_ == Kind::kTable) return store_looked_up<R, V>(row, column, spilled);
    store_floats<R, V>(row, column, reinterpret_cast<const int32_t*>(spilled));
  }

 private:
  enum class Kind { kPlain, kAdd, kTable, kFloat };

  FURIOSA_INLINE static Kind kind(const Epilogue& epilogue) {
    if (epilogue.to_float) return Kind::kFloat;
    if (epilogue.plain()) return Kind::kPlain;
    const bool table = epilogue.table != nullptr || epilogue.residual_table != nullptr;
    return table ? Kind::kTable : Kind::kAdd;
  }

  template <int V>
  FURIOSA_INLINE size_t count(size_t column) const {
    const size_t left = block_.columns - column;
    return left < 8 * V ? left : 8 * V;
  }

  template <int V>
  FURIOSA_INLINE void store_bytes(size_t row, size_t column, __m256i bytes) const {
    uint8_t* to[4 / V];
    FURIOSA_UNROLL for (size_t r = 0; r < 4 / V; ++r) {
      to[r] = static_cast<uint8_t*>(block_.y[row + r]) + block_.first_column + column;
    }
    store_parts<4 / V>(to, count<V>(column), to_rows<V>(bytes));
  }

  template <int V>
  FURIOSA_INLINE __m256i residual(size_t row, size_t column) const {
    const uint8_t* from[4 / V];
    FURIOSA_UNROLL for (size_t r = 0; r < 4 / V; ++r) {
      from[r] = block_.residual[row + r] + block_.first_column + column;
    }
    return to_packed<V>(load_parts<4 / V>(from, count<V>(column)));
  }

  template <int V>
  FURIOSA_INLINE void store_simple(size_t row, size_t column, const __m256i (&sums)[4]) const {
    const float* multiplier = block_.scales->multiplier + column;
    const __m256i bytes = kind_ == Kind::kPlain ? requantise_.bytes<V>(sums, multiplier)
                                                : add_.operator()<V>(requantise_, sums, multiplier,
                                                                     residual<V>(row, column));
    store_bytes<V>(row, column, bytes);
  }

  // Looks bytes up in the table that all channels share, or each in that of its channel.
  template <int V, int kGroups>
  FURIOSA_INLINE void look_up(const Table& shared, const uint8_t* table, size_t stride,
                              size_t column, __m256i (&bytes)[kGroups]) const {
    if (table == nullptr) return;
    if (shared.present()) return shared.look_up(bytes);
    table += (block_.first_column + column) * stride;
    for (int g = 0; g < kGroups; ++g) {
      alignas(32) uint8_t rows[32];
      _mm256_store_si256(reinterpret_cast<__m256i*>(rows), to_rows<V>(bytes[g]));
      for (size_t c = 0; c < count<V>(column); ++c) {
        for (size_t r = 0; r < 4 / V; ++r) {
          uint8_t& byte = rows[r * 8 * V + c];
          byte = table[c * stride + byte];
        }
      }
      bytes[g] = to_packed<V>(_mm256_load_si256(reinterpret_cast<const __m256i*>(rows)));
    }
  }

  template <int R, int V>
  [[gnu::noinline]] void store_looked_up(size_t row, size_t column, const __m256i* sums) const {
    constexpr int kGroups = R * V / 4;
    const auto row_of = [row](int g) { return row + static_cast<size_t>(4 * g / V); };
    __m256i bytes[kGroups];
    FURIOSA_UNROLL for (int g = 0; g < kGroups; ++g, sums += 4) {
      const __m256i group[4] = {sums[0], sums[1], sums[2], sums[3]};
      bytes[g] = requantise_.bytes<V>(group, block_.scales->multiplier + column);
    }
    const Epilogue& epilogue = *block_.epilogue;
    look_up<V>(table_, epilogue.table, epilogue.table_stride, column, bytes);
    if (epilogue.add_residual) {
      FURIOSA_UNROLL for (int g = 0; g < kGroups; ++g) {
        bytes[g] = add_(bytes[g], residual<V>(row_of(g), column));
      }
      look_up<V>(residual_table_, epilogue.residual_table, epilogue.residual_table_stride, column,
                 bytes);
    }
    FURIOSA_UNROLL for (int g = 0; g < kGroups; ++g) store_bytes<V>(row_of(g), column, bytes[g]);
  }

  template <int R, int V>
  [[gnu::noinline]] void store_floats(size_t row, size_t column, const int32_t* sums) const {
    const float* multiplier = block_.scales->multiplier + column;
    for (size_t r = row; r < row + R && r < block_.row_count; ++r, sums += 8 * V) {
      float* to = static_cast<float*>(block_.y[r]) + block_.first_column + column;
      for (size_t c = 0; c < count<V>(column); ++c) {
        const size_t slot = slot_of(c, V);
        to[c] = static_cast<float>(sums[slot]) * multiplier[slot];
      }
    }
  }

  const PanelBlock& block_;
  const Requantiser requantise_;
  const Adder add_;
  const Table table_, residual_table_;
  const Kind kind_;
};

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_EPILOGUE_H_
