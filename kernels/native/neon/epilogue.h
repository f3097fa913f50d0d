#ifndef FURIOSA_KERNELS_NATIVE_NEON_EPILOGUE_H_
#define FURIOSA_KERNELS_NATIVE_NEON_EPILOGUE_H_

// From the accumulators of 16 columns of a row, four vectors in column order, to stored bytes.

#include <arm_neon.h>

#include <cstring>

#include "kernels/native/gemm.h"

namespace furiosa::kernels::neon {
namespace {

constexpr size_t kStripe = 16;  // columns

// Up to 16 bytes, without a look behind them; zeros follow.
FURIOSA_INLINE uint8x16_t load(const uint8_t* from, size_t count) {
  if (count >= kStripe) return vld1q_u8(from);
  uint8_t bytes[kStripe] = {};
  std::memcpy(bytes, from, count);
  return vld1q_u8(bytes);
}

FURIOSA_INLINE void store(uint8_t* to, size_t count, uint8x16_t bytes) {
  if (count >= kStripe) return vst1q_u8(to, bytes);
  uint8_t all[kStripe];
  vst1q_u8(all, bytes);
  std::memcpy(to, all, count);
}

// clamp(rne(value) + zero_point, 0, 255); a NaN becomes 0.
FURIOSA_INLINE uint8x16_t round_to_bytes(const float32x4_t (&values)[4], int zero_point) {
  const float32x4_t low = vdupq_n_f32(static_cast<float>(-zero_point));
  const float32x4_t high = vdupq_n_f32(static_cast<float>(255 - zero_point));
  int16x4_t words[4];
  for (int v = 0; v < 4; ++v) {
    const float32x4_t clamped = vminnmq_f32(vmaxnmq_f32(values[v], low), high);
    words[v] = vmovn_s32(vaddq_s32(vcvtnq_s32_f32(clamped), vdupq_n_s32(zero_point)));
  }
  return vcombine_u8(vqmovun_s16(vcombine_s16(words[0], words[1])),
                     vqmovun_s16(vcombine_s16(words[2], words[3])));
}

// The bytes less `shift`, as floats.
FURIOSA_INLINE void widen(uint8x16_t bytes, float shift, float32x4_t (&values)[4]) {
  const uint16x8_t halves[2] = {vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes)};
  for (int v = 0; v < 4; ++v) {
    const uint32x4_t whole =
        v % 2 == 0 ? vmovl_u16(vget_low_u16(halves[v / 2])) : vmovl_high_u16(halves[v / 2]);
    values[v] = vsubq_f32(vcvtq_f32_u32(whole), vdupq_n_f32(shift));
  }
}

// QLinearAdd of the convolution's bytes and the residual's.
FURIOSA_INLINE uint8x16_t add_residual(const Epilogue& epilogue, uint8x16_t own,
                                       uint8x16_t residual) {
  const int shift = epilogue.is_signed ? 128 : 0;
  const float32x4_t offset = vdupq_n_f32(epilogue.residual_offset);
  float32x4_t q[4], r[4], sums[4];
  widen(own, static_cast<float>(shift), q);
  widen(residual, static_cast<float>(shift), r);
  for (int v = 0; v < 4; ++v) {
    sums[v] = epilogue.residual_first
                  ? vfmaq_n_f32(vfmaq_n_f32(offset, q[v], epilogue.conv_scale), r[v],
                                epilogue.residual_scale)
                  : vfmaq_n_f32(vfmaq_n_f32(offset, r[v], epilogue.residual_scale), q[v],
                                epilogue.conv_scale);
  }
  return round_to_bytes(sums, shift);
}

// `bytes` through one table.
FURIOSA_INLINE uint8x16_t look_up(const uint8_t* table, uint8x16_t bytes) {
  uint8x16_t found = vdupq_n_u8(0);
  for (int i = 0; i < 4; ++i) {  // indices beyond 63 leave what was found
    found = vqtbx4q_u8(found, vld1q_u8_x4(table + 64 * i), bytes);
    bytes = vsubq_u8(bytes, vdupq_n_u8(64));
  }
  return found;
}

// All that an epilogue may have: for what is rare.
[[gnu::noinline]] void store_any(const PanelBlock& block, size_t row, size_t column, size_t count,
                                 const int32_t* sums) {
  const Epilogue& epilogue = *block.epilogue;
  for (size_t c = 0; c < count; ++c) {
    const size_t channel = block.first_column + column + c;
    const float multiplier = block.scales->multiplier[column + c];
    if (epilogue.to_float) {
      static_cast<float*>(block.y[row])[channel] = static_cast<float>(sums[c]) * multiplier;
      continue;
    }
    const uint8_t* residual = epilogue.add_residual ? block.residual[row] + channel : nullptr;
    const uint8_t q = requantise(sums[c], multiplier, epilogue.y_zero_point);
    static_cast<uint8_t*>(block.y[row])[channel] = finish(epilogue, q, channel, residual);
  }
}

// Takes the accumulators of a row, of the stripe that starts at `column` of the panel, to what is
// stored.
FURIOSA_INLINE void store_row(const PanelBlock& block, size_t row, size_t column,
                              const int32x4_t (&sums)[4]) {
  const Epilogue& epilogue = *block.epilogue;
  const size_t left = block.columns - column, count = left < kStripe ? left : kStripe;
  if (epilogue.to_float || epilogue.table_stride != 0 || epilogue.residual_table_stride != 0) {
    int32_t spilled[kStripe];
    for (int v = 0; v < 4; ++v) vst1q_s32(spilled + 4 * v, sums[v]);
    return store_any(block, row, column, count, spilled);
  }
  const float* multiplier = block.scales->multiplier + column;
  float32x4_t values[4];
  for (int v = 0; v < 4; ++v) {
    values[v] = vmulq_f32(vcvtq_f32_s32(sums[v]), vld1q_f32(multiplier + 4 * v));
  }
  uint8x16_t bytes = round_to_bytes(values, epilogue.y_zero_point);
  if (epilogue.table != nullptr) bytes = look_up(epilogue.table, bytes);
  const size_t channel = block.first_column + column;
  if (epilogue.add_residual) {
    bytes = add_residual(epilogue, bytes, load(block.residual[row] + channel, count));
    if (epilogue.residual_table != nullptr) bytes = look_up(epilogue.residual_table, bytes);
  }
  store(static_cast<uint8_t*>(block.y[row]) + channel, count, bytes);
}

}  // namespace
}  // namespace furiosa::kernels::neon

#endif  // FURIOSA_KERNELS_NATIVE_NEON_EPILOGUE_H_
