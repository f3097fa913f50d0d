#ifndef FURIOSA_KERNELS_NATIVE_AVX2_TABLE_H_
#define FURIOSA_KERNELS_NATIVE_AVX2_TABLE_H_

#include <immintrin.h>

#include "kernels/native/avx2/bytes.h"

namespace furiosa::kernels::avx2 {
namespace {

// A table of 256 bytes, looked up 32 at a time. vpshufb takes from 16 entries, and gives 0 where
// the top bit of an index is set. Step i subtracts 16 i from the indices, so that those of block b
// (b = index / 16) take part in the steps b - 7 to b; from step 8 on the subtraction saturates,
// which keeps the blocks below 8 out. What the steps of a block take cancels but for its entry:
// step i holds entries of block i xor those of block i - 1, from 8 on xor what step i - 8 holds.
class Table {
 public:
  FURIOSA_INLINE explicit Table(const uint8_t* table) : present_(table != nullptr) {
    if (!present_) return;
    __m128i before = _mm_setzero_si128();
    for (int i = 0; i < 16; ++i) {
      const __m128i own = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table) + i);
      steps_[i] = _mm_xor_si128(own, before);
      if (i >= 8) steps_[i] = _mm_xor_si128(steps_[i], steps_[i - 8]);
      before = own;
    }
  }

  FURIOSA_INLINE bool present() const { return present_; }

  // Replaces indices by what they stand for.
  template <int kCount>
  FURIOSA_INLINE void look_up(__m256i (&index)[kCount]) const {
    const __m256i sixteen = _mm256_set1_epi8(16);
    __m256i found[kCount];
    FURIOSA_UNROLL for (int i = 0; i < 16; ++i) {
      const __m256i step = _mm256_broadcastsi128_si256(_mm_load_si128(steps_ + i));
      FURIOSA_UNROLL for (int k = 0; k < kCount; ++k) {
        if (i == 0) {
          found[k] = _mm256_shuffle_epi8(step, index[k]);
          continue;
        }
        index[k] =
            i <= 8 ? _mm256_sub_epi8(index[k], sixteen) : _mm256_subs_epi8(index[k], sixteen);
        found[k] = _mm256_xor_si256(found[k], _mm256_shuffle_epi8(step, index[k]));
      }
    }
    FURIOSA_UNROLL for (int k = 0; k < kCount; ++k) index[k] = found[k];
  }

 private:
  bool present_;
  __m128i steps_[16];
};

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_TABLE_H_
