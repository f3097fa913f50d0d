// gemm_avx512vnni: tiles of R rows by 16 * V columns in registers, on panels that pack_gemm makes.

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/gemm_pack.h"
#include "kernels/native/avx512vnni/vnni.h"
#include "kernels/native/gemm.h"

namespace furiosa::kernels {
namespace {

using avx512vnni::dot;
using avx512vnni::Finish;

// Bytes ahead of the multiplication from which weights are fetched into the first cache. Beside
// that the tiles of a panel fetch the next panel into the second cache, a slice each.
constexpr size_t kPrefetch = 1024;

FURIOSA_INLINE __m512i four(const uint8_t* from) {
  int32_t word;
  std::memcpy(&word, from, sizeof(word));
  return _mm512_set1_epi32(word);
}

// Adds the products of the last depth % 4 bytes of R rows, without a look behind them.
template <int R, int V>
FURIOSA_INLINE void add_last(const uint8_t* const* rows, ptrdiff_t offset, size_t depth,
                             const __m512i* weights, __m512i (&accumulators)[R][V]) {
  const size_t rest = depth % 4;
  FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
    const uint8_t* from = rows[r] + offset;
    uint32_t word;
    if (depth > 4) {
      std::memcpy(&word, from + depth - 4, sizeof(word));
      word >>= 8 * (4 - rest);
    } else {
      const size_t middle = rest / 2, end = rest - 1;
      word = static_cast<uint32_t>(from[0] | from[middle] << (8 * middle) | from[end] << (8 * end));
    }
    const __m512i bytes = _mm512_set1_epi32(static_cast<int32_t>(word));
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) dot(accumulators[r][v], bytes, weights + v);
  }
}

// Computes rows [row, row + R) of a block and fetches from `fetch` on.
template <int R, int V, Finish kFinish>
void tile(const PanelBlock& block, size_t row, const uint8_t* fetch) {
  // All 32 registers hold accumulators, weights and bytes: the last weights come from memory.
  constexpr int kHeld = R * V + V + 1 > 32 ? V - 1 : V;
  __m512i accumulators[R][V];
  FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
      accumulators[r][v] = _mm512_load_si512(block.scales->bias + 16 * v);
    }
  }
  if (block.row_bias != nullptr) {
    FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
      const __m512i own = _mm512_set1_epi32(block.row_bias[row + static_cast<size_t>(r)]);
      FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
        accumulators[r][v] = _mm512_add_epi32(accumulators[r][v], own);
      }
    }
  }
  const auto* weights = reinterpret_cast<const __m512i*>(block.panel);
  const ptrdiff_t whole = static_cast<ptrdiff_t>(block.depth / 4 * 4) + block.row_offset;
  const uint8_t* const* rows = block.rows + row;
  for (size_t tap = 0; tap < block.taps; ++tap, rows += block.row_pitch) {
    for (ptrdiff_t channel = block.row_offset; channel < whole; channel += 4, weights += V) {
      // More addresses than registers: to load them again takes less than to spill copies.
      if constexpr (R > 9) asm volatile("" ::: "memory");
      __m512i held[V];
      FURIOSA_UNROLL for (int v = 0; v < kHeld; ++v) held[v] = _mm512_load_si512(weights + v);
      FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
        _mm_prefetch(reinterpret_cast<const char*>(weights + v) + kPrefetch, _MM_HINT_T0);
      }
      _mm_prefetch(reinterpret_cast<const char*>(fetch), _MM_HINT_T1);
      fetch += 64;
      FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
        const __m512i bytes = four(rows[r] + channel);
        FURIOSA_UNROLL for (int v = 0; v < kHeld; ++v) dot(accumulators[r][v], bytes, held[v]);
        if constexpr (kHeld < V) dot(accumulators[r][V - 1], bytes, weights + V - 1);
      }
    }
    if (block.depth % 4 != 0) {
      add_last<R, V>(rows, block.row_offset, block.depth, weights, accumulators);
      weights += V;
    }
  }
  const avx512vnni::Finisher<V, kFinish> finish(block);
  constexpr int kGroup = avx512vnni::kRows<V>;
  FURIOSA_UNROLL for (int r = 0; r < R; r += kGroup) {
    __m512i group[avx512vnni::kVectors<V>];
    FURIOSA_UNROLL for (int i = 0; i < kGroup * V; ++i) group[i] = accumulators[r + i / V][i % V];
    finish(row + static_cast<size_t>(r), group);
  }
}

using Tile = void (*)(const PanelBlock& block, size_t row, const uint8_t* fetch);

// A tile height and its kernels, by Finish.
struct Height {
  size_t rows;
  Tile kernels[avx512vnni::kFinishes];
};

template <int R, int V>
constexpr Height height() {
  static_assert(R % avx512vnni::kRows<V> == 0 && R <= static_cast<int>(kSpareRows));
  return {R,
          {tile<R, V, Finish::kPlain>, tile<R, V, Finish::kTable>, tile<R, V, Finish::kAdd>,
           tile<R, V, Finish::kTableAdd>, tile<R, V, Finish::kAny>}};
}

// The heights for each panel width, ascending.
constexpr Height kOne[] = {height<4, 1>(), height<8, 1>(), height<16, 1>(), height<28, 1>()};
constexpr Height kTwo[] = {height<2, 2>(), height<4, 2>(), height<8, 2>(), height<14, 2>()};
constexpr Height kThree[] = {height<1, 3>(), height<2, 3>(), height<4, 3>(), height<6, 3>(),
                             height<9, 3>()};
constexpr Height kFour[] = {height<1, 4>(), height<2, 4>(), height<3, 4>(), height<4, 4>(),
                            height<5, 4>(), height<6, 4>(), height<7, 4>()};

size_t vectors(size_t columns) { return (columns + 15) / 16; }

size_t panel_size(size_t taps, size_t depth, size_t columns) {
  return taps * ((depth + 3) / 4) * vectors(columns) * 64;
}

template <size_t kCount>
void run_tiles(const Height (&heights)[kCount], const PanelBlock& block) {
  const size_t kernel = static_cast<size_t>(avx512vnni::finish_of(*block.epilogue));
  const size_t most = heights[kCount - 1].rows;
  const size_t size = panel_size(block.taps, block.depth, block.columns);
  const size_t slice = size / ((block.row_count + most - 1) / most);
  const uint8_t* fetch = block.next_panel != nullptr ? block.next_panel : block.panel;
  for (size_t row = 0; row < block.row_count;) {
    const size_t left = block.row_count - row;
    const size_t tiles = (left + most - 1) / most;
    const size_t rows = (left + tiles - 1) / tiles;  // tiles of equal height
    size_t i = 0;
    while (heights[i].rows < rows) ++i;
    heights[i].kernels[kernel](block, row, fetch);
    fetch += slice;
    row += heights[i].rows;
  }
}

size_t slot(size_t column, size_t columns) { return avx512vnni::slot_of(column, vectors(columns)); }

void run(const PanelBlock& block) {
  switch (vectors(block.columns)) {
    case 1:
      return run_tiles(kOne, block);
    case 2:
      return run_tiles(kTwo, block);
    case 3:
      return run_tiles(kThree, block);
    default:
      return run_tiles(kFour, block);
  }
}

}  // namespace

const PanelKernels gemm_avx512vnni = {"gemm_avx512vnni", panel_size, avx512vnni::pack_gemm, slot,
                                      run};

}  // namespace furiosa::kernels
