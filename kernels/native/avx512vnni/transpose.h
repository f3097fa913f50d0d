// Transposes of bytes in registers: every file that includes this gets its own copy, hence the
// unnamed namespace.

#ifndef FURIOSA_KERNELS_NATIVE_AVX512VNNI_TRANSPOSE_H_
#define FURIOSA_KERNELS_NATIVE_AVX512VNNI_TRANSPOSE_H_

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace furiosa::kernels::avx512vnni {
namespace {

// 64 rows of 16 bytes in 16 vectors: lane k of vector i holds row 16 k + i. Transposed, vector i
// holds byte i of the rows in their order; and the other way round.
constexpr size_t kTileRows = 64;
constexpr size_t kTileColumns = 16;

// One round of a perfect shuffle of 16 rows; four of them transpose 16x16 bytes in each lane.
inline void interleave(const __m512i from[16], __m512i to[16]) {
  for (int i = 0; i < 8; ++i) {
    to[2 * i] = _mm512_unpacklo_epi8(from[i], from[i + 8]);
    to[2 * i + 1] = _mm512_unpackhi_epi8(from[i], from[i + 8]);
  }
}

inline void transpose_tile(__m512i tile[16]) {
  __m512i other[16];
  interleave(tile, other);
  interleave(other, tile);
  interleave(tile, other);
  interleave(other, tile);
}

// The masks of the first `count` of 16 and of 64 bytes.
inline __mmask16 first_of_16(size_t count) {
  return count >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1u << count) - 1);
}

inline __mmask64 first_of_64(size_t count) {
  return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
}

// The first `columns` bytes, at most 16, of up to 64 rows; what is missing repeats the last row.
// Where the columns are whole, they are moved without masks, which slow down what is in no cache.
inline void load_tile(const uint8_t* x, ptrdiff_t stride, size_t rows, size_t columns,
                      __m512i tile[16]) {
  const auto fill = [=](auto load) {
    const auto row = [=](size_t r) {
      return load(x + static_cast<ptrdiff_t>(r < rows ? r : rows - 1) * stride);
    };
    for (size_t i = 0; i < 16; ++i) {
      __m512i part = _mm512_castsi128_si512(row(i));
      part = _mm512_inserti32x4(part, row(16 + i), 1);
      part = _mm512_inserti32x4(part, row(32 + i), 2);
      tile[i] = _mm512_inserti32x4(part, row(48 + i), 3);
    }
  };
  if (columns >= 16) {
    fill([](const uint8_t* from) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    });
  } else {
    const __mmask16 mask = first_of_16(columns);
    fill([mask](const uint8_t* from) { return _mm_maskz_loadu_epi8(mask, from); });
  }
}

inline void store_tile(const __m512i tile[16], size_t rows, size_t columns, uint8_t* y,
                       ptrdiff_t stride) {
  const auto spill = [=](auto store) {
    const auto row = [=](size_t r, __m128i bytes) {
      if (r < rows) store(y + static_cast<ptrdiff_t>(r) * stride, bytes);
    };
    for (size_t i = 0; i < 16; ++i) {
      row(i, _mm512_castsi512_si128(tile[i]));
      row(16 + i, _mm512_extracti32x4_epi32(tile[i], 1));
      row(32 + i, _mm512_extracti32x4_epi32(tile[i], 2));
      row(48 + i, _mm512_extracti32x4_epi32(tile[i], 3));
    }
  };
  if (columns >= 16) {
    spill([](uint8_t* to, __m128i bytes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
    });
  } else {
    const __mmask16 mask = first_of_16(columns);
    spill([mask](uint8_t* to, __m128i bytes) { _mm_mask_storeu_epi8(to, mask, bytes); });
  }
}

// 64 bytes through a table of 256, which lies in four vectors.
inline __m512i look_up(__m512i index, __m512i t0, __m512i t1, __m512i t2, __m512i t3) {
  const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
  const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
}

inline __m512i look_up(__m512i index, const uint8_t* table) {
  return look_up(index, _mm512_loadu_si512(table), _mm512_loadu_si512(table + 64),
                 _mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192));
}

}  // namespace
}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_TRANSPOSE_H_
