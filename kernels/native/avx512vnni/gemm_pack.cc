#include "kernels/native/avx512vnni/gemm_pack.h"

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/vnni.h"

namespace furiosa::kernels::avx512vnni {
namespace {

// The columns of a source as a panel of V vectors has them.
template <int V>
struct Packer {
  const PanelSource& source;
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(source.flip));
  __m512i sums[V] = {};

  const uint8_t* at(const uint8_t* tap, size_t channel, size_t column) const {
    return tap + static_cast<ptrdiff_t>(channel) * source.channel_stride +
           static_cast<ptrdiff_t>(column) * source.column_stride;
  }

  FURIOSA_INLINE void put(__m512i weights, int v, uint8_t* to) {
    _mm512_store_si512(to + 64 * v, weights);
    dot(sums[v], _mm512_set1_epi8(1), weights);
  }

  // Up to four channels whose columns are adjacent: as the bytes of four rows of columns.
  void put_rows(const uint8_t* tap, size_t channel, size_t count, uint8_t* to) {
    const __mmask64 mask = column_mask(source.columns);
    __m512i rows[4], fours[4];
    for (size_t i = 0; i < 4; ++i) {
      const __m512i row = i < count ? _mm512_maskz_loadu_epi8(mask, at(tap, channel + i, 0)) : flip;
      rows[i] = to_packed<V>(_mm512_maskz_mov_epi8(mask, _mm512_xor_si512(row, flip)));
    }
    interleave(rows, fours);
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) put(fours[v], v, to);
  }

  // Sixteen channels that are adjacent: 16 bytes of each column, transposed in units of four.
  void put_columns(const uint8_t* tap, size_t channel, uint8_t* to) {
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
      __m512i columns[4];  // one of each lane
      FURIOSA_UNROLL for (int i = 0; i < 4; ++i) {
        __m128i lanes[4];
        FURIOSA_UNROLL for (int lane = 0; lane < 4; ++lane) {
          const size_t column = static_cast<size_t>(4 * V * lane + 4 * v + i);
          lanes[lane] =
              column < source.columns
                  ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(at(tap, channel, column)))
                  : _mm512_castsi512_si128(flip);
        }
        const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(lanes[0]), lanes[1], 1);
        const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(lanes[2]), lanes[3], 1);
        columns[i] =
            _mm512_xor_si512(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1), flip);
      }
      const __m512i low01 = _mm512_unpacklo_epi32(columns[0], columns[1]);
      const __m512i high01 = _mm512_unpackhi_epi32(columns[0], columns[1]);
      const __m512i low23 = _mm512_unpacklo_epi32(columns[2], columns[3]);
      const __m512i high23 = _mm512_unpackhi_epi32(columns[2], columns[3]);
      put(_mm512_unpacklo_epi64(low01, low23), v, to);
      put(_mm512_unpackhi_epi64(low01, low23), v, to + 64 * V);
      put(_mm512_unpacklo_epi64(high01, high23), v, to + 128 * V);
      put(_mm512_unpackhi_epi64(high01, high23), v, to + 192 * V);
    }
  }

  // Up to four channels of any columns.
  void put_any(const uint8_t* tap, size_t channel, size_t count, uint8_t* to) {
    alignas(64) uint8_t bytes[64 * V] = {};
    for (size_t column = 0; column < source.columns; ++column) {
      for (size_t i = 0; i < count; ++i) {
        bytes[4 * slot_of(column, V) + i] = *at(tap, channel + i, column) ^ source.flip;
      }
    }
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) put(_mm512_load_si512(bytes + 64 * v), v, to);
  }

  void run(uint8_t* panel, int32_t* column_sums) {
    const uint8_t* tap = source.data;
    for (size_t i = 0; i < source.taps; ++i, tap += source.tap_stride) {
      for (size_t channel = 0; channel < source.depth;) {
        const size_t left = source.depth - channel, count = left < 4 ? left : 4;
        if (source.column_stride == 1) {
          put_rows(tap, channel, count, panel);
        } else if (source.channel_stride == 1 && left >= 16) {
          put_columns(tap, channel, panel);
          channel += 12, panel += 192 * V;
        } else {
          put_any(tap, channel, count, panel);
        }
        channel += count;
        panel += 64 * V;
      }
    }
    if (column_sums == nullptr) return;
    alignas(64) int32_t slots[16 * V];
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) _mm512_store_si512(slots + 16 * v, sums[v]);
    for (size_t column = 0; column < source.columns; ++column) {
      column_sums[column] = slots[slot_of(column, V)];
    }
  }
};

}  // namespace

void pack_gemm(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  switch ((source.columns + 15) / 16) {
    case 1:
      return Packer<1>{source}.run(panel, column_sums);
    case 2:
      return Packer<2>{source}.run(panel, column_sums);
    case 3:
      return Packer<3>{source}.run(panel, column_sums);
    default:
      return Packer<4>{source}.run(panel, column_sums);
  }
}

}  // namespace furiosa::kernels::avx512vnni
