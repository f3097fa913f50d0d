#include "kernels/native/avx512vnni/gemm_held.h"

#include <immintrin.h>

#include <utility>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/vnni.h"

namespace furiosa::kernels::avx512vnni {
namespace {

// All weights stay in registers, so that a tile needs no more rows than fill a vector of bytes.
// Such tiles are short: the processor finishes some while it multiplies others.
template <int V, int kFours, Finish kFinish>
void run(const PanelBlock& block) {
  constexpr int kTile = kRows<V>;
  __m512i weights[kFours][V];
  FURIOSA_UNROLL for (int k = 0; k < kFours; ++k) {
    FURIOSA_UNROLL for (int v = 0; v < V; ++v) {
      // Left to itself the compiler would load weights again for every row.
      const auto* from = reinterpret_cast<const __m512i*>(block.panel) + k * V + v;
      asm("vmovdqa64 %1, %0" : "=v"(weights[k][v]) : "m"(*from));
    }
  }
  const Finisher<V, kFinish> finish(block);
  const uint8_t* const* rows = block.rows;
  const ptrdiff_t offset = block.row_offset;
  const int32_t* bias = block.scales->bias;
  for (size_t row = 0, count = block.row_count; row < count; row += kTile, rows += kTile) {
    __m512i sums[kVectors<V>];
    FURIOSA_UNROLL for (int i = 0; i < kVectors<V>; ++i) {
      sums[i] = _mm512_load_si512(bias + 16 * (i % V));
    }
    FURIOSA_UNROLL for (int k = 0; k < kFours; ++k) {
      FURIOSA_UNROLL for (int r = 0; r < kTile; ++r) {
        const __m512i bytes = four(rows[r] + offset + 4 * k);
        FURIOSA_UNROLL for (int v = 0; v < V; ++v) dot(sums[r * V + v], bytes, weights[k][v]);
      }
    }
    finish(row, sums);
  }
}

using Kernel = void (*)(const PanelBlock& block);

constexpr size_t kHeldFinishes = 4;

template <int V, int kFours>
constexpr Kernel kKernels[kHeldFinishes] = {
    run<V, kFours, Finish::kPlain>, run<V, kFours, Finish::kTable>, run<V, kFours, Finish::kAdd>,
    run<V, kFours, Finish::kTableAdd>};

// The kernels for 1, 2, 3... times four channels.
template <int V, int... kFours>
Kernel find(size_t fours, size_t finish, std::integer_sequence<int, kFours...>) {
  static constexpr const Kernel* kFound[] = {kKernels<V, kFours + 1>...};
  return fours - 1 < sizeof...(kFours) ? kFound[fours - 1][finish] : nullptr;
}

template <int V, int kMost>
Kernel find(size_t fours, size_t finish) {
  return find<V>(fours, finish, std::make_integer_sequence<int, kMost>());
}

}  // namespace

bool run_held(const PanelBlock& block) {
  const size_t finish = static_cast<size_t>(finish_of(*block.epilogue));
  if (block.taps != 1 || block.depth % 4 != 0 || block.row_bias != nullptr) return false;
  if (finish >= kHeldFinishes) return false;
  const size_t fours = block.depth / 4, vectors = (block.columns + 15) / 16;
  // Of more channels, tiles of many rows are as fast or faster.
  const Kernel kernel = vectors == 4   ? find<4, 6>(fours, finish)
                        : vectors == 3 ? find<3, 4>(fours, finish)
                        : vectors == 2 ? find<2, 6>(fours, finish)
                                       : find<1, 6>(fours, finish);
  if (kernel != nullptr) kernel(block);
  return kernel != nullptr;
}

}  // namespace furiosa::kernels::avx512vnni
