// depthwise_neon: 16 channels at a time, bytes and weights widened to 16 bits. Panel:
// [channel / 16][tap][16] int16.

#include <arm_neon.h>

#include <cstring>

#include "kernels/native/gemm.h"
#include "kernels/native/neon/epilogue.h"

namespace furiosa::kernels {
namespace {

using neon::kStripe;

FURIOSA_INLINE void add_tap(uint8x16_t bytes, const int16_t* weights, int32x4_t (&sums)[4]) {
  const int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
  const int16x8_t high = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
  const int16x8_t first = vld1q_s16(weights), last = vld1q_s16(weights + 8);
  sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(first));
  sums[1] = vmlal_high_s16(sums[1], low, first);
  sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(last));
  sums[3] = vmlal_high_s16(sums[3], high, last);
}

void run(const PanelBlock& block) {
  for (size_t row = 0; row < block.row_count; ++row) {
    const auto* weights = reinterpret_cast<const int16_t*>(block.panel);
    for (size_t column = 0; column < block.columns; column += kStripe) {
      int32x4_t sums[4];
      for (size_t v = 0; v < 4; ++v) sums[v] = vld1q_s32(block.scales->bias + column + 4 * v);
      for (size_t tap = 0; tap < block.taps; ++tap, weights += kStripe) {
        const uint8_t* from = block.rows[tap * block.row_pitch + row] + block.row_offset + column;
        add_tap(neon::load(from, block.columns - column), weights, sums);
      }
      neon::store_row(block, row, column, sums);
    }
  }
}

size_t panel_size(size_t taps, size_t, size_t) { return taps * kPanelColumns * sizeof(int16_t); }

size_t slot(size_t column, size_t) { return column; }

void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  std::memset(panel, 0, panel_size(source.taps, 1, source.columns));
  for (size_t column = 0; column < source.columns; ++column) {
    const uint8_t* from = source.data + static_cast<ptrdiff_t>(column) * source.column_stride;
    auto* to = reinterpret_cast<int16_t*>(panel) + column / kStripe * source.taps * kStripe +
               column % kStripe;
    uint32_t sum = 0;
    for (size_t tap = 0; tap < source.taps; ++tap, from += source.tap_stride) {
      to[tap * kStripe] = static_cast<int8_t>(*from ^ source.flip);
      sum += static_cast<uint32_t>(to[tap * kStripe]);
    }
    if (column_sums != nullptr) column_sums[column] = static_cast<int32_t>(sum);
  }
}

}  // namespace

const PanelKernels depthwise_neon = {"depthwise_neon", panel_size, pack, slot, run};

}  // namespace furiosa::kernels
