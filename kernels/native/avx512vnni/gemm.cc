// gemm_avx512vnni: tiles of R rows by 16 * V columns in registers, on panels that pack_gemm makes.

#include <immintrin.h>

#include <cstring>
#include <iterator>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/gemm_held.h"
#include "kernels/native/avx512vnni/gemm_pack.h"
#include "kernels/native/avx512vnni/vnni.h"
#include "kernels/native/gemm.h"

namespace furiosa::kernels {
namespace {

using avx512vnni::dot;
using avx512vnni::Finish;
using avx512vnni::four;

// Bytes ahead of the multiplication from which weights are fetched into the first cache. Beside
// that the tiles of a panel fetch the next panel into the second cache, a slice each.
constexpr size_t kPrefetch = 1024;

// Largest panel that stays in the first cache beside what else is there: rows may take turns.
constexpr size_t kTurnsSize = 40'000;

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

// What the sums of rows [row, row + R) start with.
template <int R, int V>
FURIOSA_INLINE void start(const PanelBlock& block, size_t row, __m512i (&accumulators)[R][V]) {
  FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
      accumulators[r][v] = _mm512_load_si512(block.scales->bias + 16 * v);
    }
  }
  if (block.row_bias == nullptr) return;
  FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
    const __m512i own = _mm512_set1_epi32(block.row_bias[row + static_cast<size_t>(r)]);
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
      accumulators[r][v] = _mm512_add_epi32(accumulators[r][v], own);
    }
  }
}

// Puts the rows that fill a vector, from row `first` of a tile at `row` on, through the epilogue.
template <int R, int V, Finish kFinish>
FURIOSA_INLINE void finish_group(const avx512vnni::Finisher<V, kFinish>& finish, size_t row,
                                 int first, const __m512i (&accumulators)[R][V]) {
  __m512i group[avx512vnni::kVectors<V>];
  FURIOSA_UNROLL for (int i = 0; i < avx512vnni::kVectors<V>; ++i) {
    group[i] = accumulators[first + i / V][i % V];
  }
  finish(row + static_cast<size_t>(first), group);
}

// Computes rows [row, row + R) of a block and fetches from `fetch` on.
template <int R, int V, Finish kFinish>
void tile(const PanelBlock& block, size_t row, const uint8_t* fetch) {
  // All 32 registers hold accumulators, weights and bytes: the last weights come from memory.
  constexpr int kHeld = R * V + V + 1 > 32 ? V - 1 : V;
  __m512i accumulators[R][V];
  start(block, row, accumulators);
  const auto* weights = reinterpret_cast<const __m512i*>(block.panel);
  const ptrdiff_t whole = static_cast<ptrdiff_t>(block.depth / 4 * 4);
  const uint8_t* const* rows = block.rows + row;
  ptrdiff_t offset = block.row_offset;
  for (size_t tap = 0; tap < block.taps; ++tap, rows += block.row_pitch, offset += block.tap_step) {
    for (ptrdiff_t channel = offset; channel < offset + whole; channel += 4, weights += V) {
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
      add_last<R, V>(rows, offset, block.depth, weights, accumulators);
      weights += V;
    }
  }
  const avx512vnni::Finisher<V, kFinish> finish(block);
  FURIOSA_UNROLL for (int r = 0; r < R; r += avx512vnni::kRows<V>) {
    finish_group(finish, row, r, accumulators);
  }
}

// Adds the products of channels [channel, stop) of a tap to the sums of R rows, and goes on to the
// weights behind them.
template <int R, int V, int kHeld>
FURIOSA_INLINE void multiply(const uint8_t* const (&from)[R], ptrdiff_t channel, ptrdiff_t stop,
                             const __m512i*& weights, __m512i (&accumulators)[R][V]) {
  for (; channel < stop; channel += 4, weights += V) {
    // Left to itself the compiler would load weights again for every row.
    __m512i held[V];
    FURIOSA_UNROLL for (int v = 0; v < kHeld; ++v) {
      asm("vmovdqa64 %1, %0" : "=v"(held[v]) : "m"(weights[v]));
    }
    FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
      const __m512i bytes = four(from[r] + channel);
      FURIOSA_UNROLL for (int v = 0; v < kHeld; ++v) dot(accumulators[r][v], bytes, held[v]);
      if constexpr (kHeld < V) dot(accumulators[r][V - 1], bytes, weights + V - 1);
    }
  }
}

// How the rows of a panel of V vectors take turns: A are multiplied while B go through the
// epilogue, then the other way round. An epilogue keeps other units busy than multiplications do,
// but the processor does not look ahead far enough to find that by itself. All sums stay in
// registers; an epilogue of many steps needs some for itself.
template <int V, Finish kFinish>
struct Turns {
  static constexpr int kSpare = kFinish == Finish::kPlain ? 0 : 1;
  static constexpr int A = V == 1 ? 12 : V == 2 ? 8 : V == 3 ? 5 : 4 - kSpare;
  static constexpr int B = V == 1 ? 12 : V == 2 ? 6 : V == 3 ? 4 : 3;
  static constexpr int kHeld = (A + B + 1) * V + 1 > 32 ? V - 1 : V;
  static constexpr bool kAdds = kFinish == Finish::kAdd || kFinish == Finish::kTableAdd;

  const PanelBlock& block;
  const avx512vnni::Finisher<V, kFinish> finish;
  const ptrdiff_t depth = static_cast<ptrdiff_t>(block.depth);
  const ptrdiff_t piece_of_a = piece(depth, A), piece_of_b = piece(depth, B);

  // Channels of the first tap that go with each group of `finished` rows.
  static ptrdiff_t piece(ptrdiff_t depth, ptrdiff_t finished) {
    const ptrdiff_t groups = finished / avx512vnni::kRows<V>;
    return (depth / 4 + groups - 1) / groups * 4;
  }

  // Puts group kGroup of the P rows at `finished_row` through the epilogue, if they are there, and
  // takes the next piece of the first tap; likewise the groups behind it.
  template <int kGroup, int R, int P>
  FURIOSA_INLINE void share(size_t finished_row, const __m512i (&finished)[P][V],
                            const uint8_t* const (&from)[R], ptrdiff_t channel, ptrdiff_t piece,
                            const __m512i*& weights, __m512i (&accumulators)[R][V]) {
    constexpr int kFirst = kGroup * avx512vnni::kRows<V>;
    if constexpr (kFirst < P) {
      if (finished_row < block.row_count) finish_group(finish, finished_row, kFirst, finished);
      const ptrdiff_t left = depth - channel;
      const ptrdiff_t next = channel + (left < piece ? left : piece);
      multiply<R, V, kHeld>(from, channel, next, weights, accumulators);
      share<kGroup + 1>(finished_row, finished, from, next, piece, weights, accumulators);
    }
  }

  // Multiplies R rows from `row` on, and finishes P rows.
  template <int R, int P>
  FURIOSA_INLINE void turn(size_t row, __m512i (&accumulators)[R][V], size_t finished_row,
                           const __m512i (&finished)[P][V]) {
    if constexpr (kAdds) {
      FURIOSA_UNROLL for (size_t r = 0; r < R; ++r) {
        _mm_prefetch(reinterpret_cast<const char*>(block.residual[row + r] + block.first_column),
                     _MM_HINT_T0);
      }
    }
    start(block, row, accumulators);
    const ptrdiff_t piece = P == A ? piece_of_a : piece_of_b;
    const auto* weights = reinterpret_cast<const __m512i*>(block.panel);
    const uint8_t* const* rows = block.rows + row;
    ptrdiff_t offset = block.row_offset;
    const uint8_t* from[R];
    FURIOSA_UNROLL for (int r = 0; r < R; ++r) from[r] = rows[r] + offset;
    share<0>(finished_row, finished, from, 0, piece, weights, accumulators);
    for (size_t tap = 1; tap < block.taps; ++tap) {
      rows += block.row_pitch;
      offset += block.tap_step;
      FURIOSA_UNROLL for (int r = 0; r < R; ++r) from[r] = rows[r] + offset;
      multiply<R, V, kHeld>(from, 0, depth, weights, accumulators);
    }
  }
};

// Computes `count` times A + B rows from row 0 on, and each time fetches a slice of the next panel.
// `count` is not 0, and depth a multiple of 4.
template <int V, Finish kFinish>
void take_turns(const PanelBlock& block, size_t count, size_t slice) {
  using Own = Turns<V, kFinish>;
  Own turns{block, avx512vnni::Finisher<V, kFinish>(block)};
  __m512i a[Own::A][V], b[Own::B][V] = {};
  const uint8_t* fetch = block.next_panel;
  size_t row = 0, finished = block.row_count;  // none at first
  for (; count > 0; --count, row += Own::A + Own::B) {
    for (size_t i = 0; fetch != nullptr && i < slice; i += 64, fetch += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(fetch), _MM_HINT_T1);
    }
    turns.turn(row, a, finished, b);
    finished = row + Own::A;
    turns.turn(finished, b, row, a);
  }
  FURIOSA_UNROLL for (int r = 0; r < Own::B; r += avx512vnni::kRows<V>) {
    finish_group(turns.finish, finished, r, b);
  }
}

struct TurnsKernel {
  size_t rows;
  void (*run)(const PanelBlock& block, size_t count, size_t slice);
};

template <int V, Finish kFinish>
constexpr TurnsKernel kTurns = {Turns<V, kFinish>::A + Turns<V, kFinish>::B,
                                take_turns<V, kFinish>};

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

template <int V, size_t kCount>
void run_tiles(const Height (&heights)[kCount], const PanelBlock& block) {
  static constexpr TurnsKernel kKernels[] = {kTurns<V, Finish::kPlain>, kTurns<V, Finish::kTable>,
                                             kTurns<V, Finish::kAdd>, kTurns<V, Finish::kTableAdd>};
  const size_t kernel = static_cast<size_t>(avx512vnni::finish_of(*block.epilogue));
  const size_t most = heights[kCount - 1].rows;
  const size_t size = panel_size(block.taps, block.depth, block.columns);
  const size_t slice = size / ((block.row_count + most - 1) / most);
  const uint8_t* fetch = block.next_panel != nullptr ? block.next_panel : block.panel;
  size_t row = 0;
  if (kernel < std::size(kKernels) && block.depth % 4 == 0 && size <= kTurnsSize) {
    const size_t height = kKernels[kernel].rows;
    // A single row would take as long as two: it goes into a tile with those before it.
    const bool single = block.row_count % height == 1 && height < most;
    const size_t turns = block.row_count / height, count = single && turns > 0 ? turns - 1 : turns;
    if (count > 0) kKernels[kernel].run(block, count, size / count);
    row = count * height;
  }
  while (row < block.row_count) {
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
  if (avx512vnni::run_held(block)) return;
  switch (vectors(block.columns)) {
    case 1:
      return run_tiles<1>(kOne, block);
    case 2:
      return run_tiles<2>(kTwo, block);
    case 3:
      return run_tiles<3>(kThree, block);
    default:
      return run_tiles<4>(kFour, block);
  }
}

}  // namespace

const PanelKernels gemm_avx512vnni = {
    "gemm_avx512vnni", panel_size, avx512vnni::pack_gemm, slot, run, true};

}  // namespace furiosa::kernels
