#ifndef FURIOSA_KERNELS_NATIVE_AVX2_BYTES_H_
#define FURIOSA_KERNELS_NATIVE_AVX2_BYTES_H_

// Vectors of 32 bytes from and to rows that may be shorter: nothing beside them is touched.

#include <immintrin.h>

#include <cstring>

#include "kernels/native/epilogue.h"

namespace furiosa::kernels::avx2 {
namespace {

// Loops over registers must be unrolled; under the sanitizers, that would take minutes to compile.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FURIOSA_UNROLL
#else
#define FURIOSA_UNROLL _Pragma("GCC unroll 16")
#endif

template <class Word>
FURIOSA_INLINE Word load_word(const uint8_t* from) {
  Word word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

// The first `count` bytes, at most 8; zeros behind them.
FURIOSA_INLINE uint64_t load_8(const uint8_t* from, size_t count) {
  if (count >= 8) return load_word<uint64_t>(from);
  if (count >= 4) {
    const uint64_t last = load_word<uint32_t>(from + count - 4);
    return load_word<uint32_t>(from) | last << (8 * (count - 4));
  }
  uint64_t word = 0;
  for (size_t i = 0; i < count; ++i) word |= uint64_t{from[i]} << (8 * i);
  return word;
}

FURIOSA_INLINE void store_8(uint8_t* to, size_t count, uint64_t word) {
  if (count >= 8) {
    std::memcpy(to, &word, 8);
  } else if (count >= 4) {
    const uint64_t last = word >> (8 * (count - 4));
    std::memcpy(to, &word, 4);
    std::memcpy(to + count - 4, &last, 4);
  } else {
    for (size_t i = 0; i < count; ++i) to[i] = static_cast<uint8_t>(word >> (8 * i));
  }
}

// Likewise, at most 16.
FURIOSA_INLINE __m128i load_16(const uint8_t* from, size_t count) {
  if (count >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const uint64_t high = count > 8 ? load_word<uint64_t>(from + count - 8) >> (8 * (16 - count)) : 0;
  return _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(load_8(from, count)));
}

FURIOSA_INLINE void store_16(uint8_t* to, size_t count, __m128i bytes) {
  if (count >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
  const uint64_t low = static_cast<uint64_t>(_mm_cvtsi128_si64(bytes));
  store_8(to, count, low);
  if (count > 8) {
    const uint64_t high = static_cast<uint64_t>(_mm_extract_epi64(bytes, 1));
    const uint64_t last = low >> (8 * (count - 8)) | high << (8 * (16 - count));
    std::memcpy(to + count - 8, &last, 8);
  }
}

// Fewer than 32 bytes.
[[gnu::noinline]] __m256i load_some(const uint8_t* from, size_t count) {
  const __m128i low = load_16(from, count < 16 ? count : 16);
  const __m128i high = count > 16 ? load_16(from + 16, count - 16) : _mm_setzero_si128();
  return _mm256_set_m128i(high, low);
}

[[gnu::noinline]] void store_some(uint8_t* to, size_t count, __m256i bytes) {
  store_16(to, count < 16 ? count : 16, _mm256_castsi256_si128(bytes));
  if (count > 16) store_16(to + 16, count - 16, _mm256_extracti128_si256(bytes, 1));
}

// A vector of pieces, 32 / kParts bytes each, of which `count` are there.
template <int kParts>
FURIOSA_INLINE __m256i load_parts(const uint8_t* const* from, size_t count) {
  if constexpr (kParts == 1) {
    if (count < 32) return load_some(from[0], count);
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from[0]));
  } else if constexpr (kParts == 2) {
    if (count < 16) {
      const __m256i low = load_some(from[0], count), high = load_some(from[1], count);
      return _mm256_permute2x128_si256(low, high, 0x20);
    }
    return _mm256_set_m128i(load_16(from[1], 16), load_16(from[0], 16));
  } else {
    return _mm256_setr_epi64x(
        static_cast<int64_t>(load_8(from[0], count)), static_cast<int64_t>(load_8(from[1], count)),
        static_cast<int64_t>(load_8(from[2], count)), static_cast<int64_t>(load_8(from[3], count)));
  }
}

template <int kParts>
FURIOSA_INLINE void store_parts(uint8_t* const* to, size_t count, __m256i bytes) {
  const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
  if constexpr (kParts == 1) {
    if (count < 32) return store_some(to[0], count, bytes);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[0]), bytes);
  } else if constexpr (kParts == 2) {
    store_16(to[0], count, low);
    store_16(to[1], count, high);
  } else {
    store_8(to[0], count, static_cast<uint64_t>(_mm_cvtsi128_si64(low)));
    store_8(to[1], count, static_cast<uint64_t>(_mm_extract_epi64(low, 1)));
    store_8(to[2], count, static_cast<uint64_t>(_mm_cvtsi128_si64(high)));
    store_8(to[3], count, static_cast<uint64_t>(_mm_extract_epi64(high, 1)));
  }
}

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_BYTES_H_
