// gemm_neon: tiles of R rows by 16 columns in registers, multiplied by SDOT. It takes int8, so
// bytes are taken less 128, and accumulators start with 128 times the sum of their weights.
// Panel: for each 16 columns these starts, int32, then [tap][channel / 4][16 columns][4] int8;
// channels that are not there are zero.

#include <arm_neon.h>

#include <cstring>

#include "kernels/native/gemm.h"
#include "kernels/native/neon/epilogue.h"

namespace furiosa::kernels {
namespace {

using neon::kStripe;

constexpr size_t kRows = 4;

size_t stripe_size(size_t taps, size_t depth) {
  return kStripe * (sizeof(int32_t) + taps * ((depth + 3) / 4 * 4));
}

FURIOSA_INLINE int8x16_t less_128(uint8x16_t bytes) {
  return vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)));
}

// The first `count` bytes, at most 4, in every 32 bits.
FURIOSA_INLINE int8x16_t load_unit(const uint8_t* from, size_t count) {
  uint32_t word = 0;
  if (count >= 4) {
    std::memcpy(&word, from, sizeof(word));
  } else {
    for (size_t i = 0; i < count; ++i) word |= uint32_t{from[i]} << (8 * i);
  }
  return less_128(vreinterpretq_u8_u32(vdupq_n_u32(word)));
}

// Adds the products of 4 channels, those of lane kLane of the bytes.
template <int kLane, size_t R>
FURIOSA_INLINE void multiply(const int8_t* weights, const int8x16_t (&bytes)[R],
                             int32x4_t (&sums)[R][4]) {
  for (int v = 0; v < 4; ++v) {
    const int8x16_t held = vld1q_s8(weights + 16 * v);
    for (size_t r = 0; r < R; ++r) {
      sums[r][v] = vdotq_laneq_s32(sums[r][v], held, bytes[r], kLane);
    }
  }
}

// Computes rows [row, row + R) of the stripe that starts at `column`.
template <size_t R>
void tile(const PanelBlock& block, size_t row, size_t column) {
  const uint8_t* panel = block.panel + column / kStripe * stripe_size(block.taps, block.depth);
  const auto* starts = reinterpret_cast<const int32_t*>(panel);
  const auto* weights = reinterpret_cast<const int8_t*>(starts + kStripe);
  int32x4_t sums[R][4];
  for (size_t r = 0; r < R; ++r) {
    const int32x4_t own = vdupq_n_s32(block.row_bias == nullptr ? 0 : block.row_bias[row + r]);
    for (size_t v = 0; v < 4; ++v) {
      const int32x4_t bias = vld1q_s32(block.scales->bias + column + 4 * v);
      sums[r][v] = vaddq_s32(vaddq_s32(bias, vld1q_s32(starts + 4 * v)), own);
    }
  }
  const uint8_t* const* rows = block.rows + row;
  for (size_t tap = 0; tap < block.taps; ++tap, rows += block.row_pitch) {
    int8x16_t bytes[R];
    size_t channel = 0;
    for (; channel + 16 <= block.depth; channel += 16, weights += 16 * kStripe) {
      for (size_t r = 0; r < R; ++r) {
        bytes[r] = less_128(vld1q_u8(rows[r] + block.row_offset + channel));
      }
      multiply<0>(weights, bytes, sums);
      multiply<1>(weights + 4 * kStripe, bytes, sums);
      multiply<2>(weights + 8 * kStripe, bytes, sums);
      multiply<3>(weights + 12 * kStripe, bytes, sums);
    }
    for (; channel < block.depth; channel += 4, weights += 4 * kStripe) {
      for (size_t r = 0; r < R; ++r) {
        bytes[r] = load_unit(rows[r] + block.row_offset + channel, block.depth - channel);
      }
      multiply<0>(weights, bytes, sums);
    }
  }
  for (size_t r = 0; r < R; ++r) neon::store_row(block, row + r, column, sums[r]);
}

void run(const PanelBlock& block) {
  for (size_t column = 0; column < block.columns; column += kStripe) {
    size_t row = 0;
    for (; row + 1 < block.row_count; row += kRows) tile<kRows>(block, row, column);
    if (row < block.row_count) tile<1>(block, row, column);
  }
}

size_t panel_size(size_t taps, size_t depth, size_t columns) {
  return (columns + kStripe - 1) / kStripe * stripe_size(taps, depth);
}

size_t slot(size_t column, size_t) { return column; }

void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  std::memset(panel, 0, panel_size(source.taps, source.depth, source.columns));
  for (size_t column = 0; column < source.columns; ++column) {
    uint8_t* stripe = panel + column / kStripe * stripe_size(source.taps, source.depth);
    uint8_t* to = stripe + kStripe * sizeof(int32_t) + column % kStripe * 4;
    const uint8_t* tap = source.data + static_cast<ptrdiff_t>(column) * source.column_stride;
    uint32_t sum = 0;
    for (size_t i = 0; i < source.taps; ++i, tap += source.tap_stride) {
      const uint8_t* from = tap;
      for (size_t channel = 0; channel < source.depth; ++channel, from += source.channel_stride) {
        const uint8_t weight = *from ^ source.flip;
        to[channel / 4 * 4 * kStripe + channel % 4] = weight;
        sum += static_cast<uint32_t>(static_cast<int8_t>(weight));
      }
      to += (source.depth + 3) / 4 * 4 * kStripe;
    }
    reinterpret_cast<uint32_t*>(stripe)[column % kStripe] = 128u * sum;
    if (column_sums != nullptr) column_sums[column] = static_cast<int32_t>(sum);
  }
}

}  // namespace

const PanelKernels gemm_neon = {"gemm_neon", panel_size, pack, slot, run};

}  // namespace furiosa::kernels
