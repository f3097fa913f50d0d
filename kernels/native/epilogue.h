#ifndef FURIOSA_KERNELS_NATIVE_EPILOGUE_H_
#define FURIOSA_KERNELS_NATIVE_EPILOGUE_H_

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace furiosa::kernels {

// What happens to int32 accumulators before they are stored. kernels/reference/conv.py is the
// definition: requantise, table, residual add, residual table; or scale to float32.
struct Epilogue {
  bool to_float = false;  // y is float32: f32(accumulator) * multiplier, and nothing else applies
  uint8_t y_zero_point = 0;
  // Whether no accumulator times its multiplier reaches 2^31, nor a sum with the residual, so that
  // they may be rounded before they are limited. Where it is false, some kernels are slow.
  bool bounded = false;
  const uint8_t* table = nullptr;  // 256 entries, or nullptr
  size_t table_stride = 0;         // from one channel's table to the next; 0: one table for all
  bool add_residual = false;
  bool residual_first = false;  // the residual is the first operand of the QLinearAdd
  bool is_signed = false;       // bytes stand for int8 values plus 128
  float residual_scale = 0;
  float conv_scale = 0;
  float residual_offset = 0;
  const uint8_t* residual_table = nullptr;
  size_t residual_table_stride = 0;

  // Whether a byte is done once it is requantised.
  bool plain() const { return table == nullptr && !add_residual; }
};

// The functions below are always inlined: sources of every instruction set include them, and a
// shared copy could hold instructions that this CPU lacks.
#define FURIOSA_INLINE [[gnu::always_inline]] inline

// clamp(rne(f32(accumulator) * multiplier) + zero_point, 0, 255); a NaN becomes 0.
FURIOSA_INLINE uint8_t requantise(int32_t accumulator, float multiplier, int32_t zero_point) {
  const float low = static_cast<float>(-zero_point);
  const float high = static_cast<float>(255 - zero_point);
  float value = static_cast<float>(accumulator) * multiplier;
  value = value > low ? value : low;
  value = value < high ? value : high;
  return static_cast<uint8_t>(__builtin_lrintf(value) + zero_point);
}

// QLinearAdd of the convolution's byte q and the residual's byte r.
FURIOSA_INLINE uint8_t add_residual(const Epilogue& epilogue, uint8_t q, uint8_t r) {
  const int shift = epilogue.is_signed ? 128 : 0;
  const float own = static_cast<float>(q - shift);
  const float other = static_cast<float>(r - shift);
  float value =
      epilogue.residual_first
          ? __builtin_fmaf(other, epilogue.residual_scale,
                           __builtin_fmaf(own, epilogue.conv_scale, epilogue.residual_offset))
          : __builtin_fmaf(
                own, epilogue.conv_scale,
                __builtin_fmaf(other, epilogue.residual_scale, epilogue.residual_offset));
  const float low = static_cast<float>(-shift);
  const float high = static_cast<float>(255 - shift);
  value = value > low ? value : low;
  value = value < high ? value : high;
  return static_cast<uint8_t>(__builtin_lrintf(value) + shift);
}

// Takes a requantised byte of `channel` to what is stored; `residual` is that byte of the residual.
FURIOSA_INLINE uint8_t finish(const Epilogue& epilogue, uint8_t q, size_t channel,
                              const uint8_t* residual) {
  if (epilogue.table != nullptr) q = epilogue.table[channel * epilogue.table_stride + q];
  if (epilogue.add_residual) {
    q = add_residual(epilogue, q, *residual);
    if (epilogue.residual_table != nullptr) {
      q = epilogue.residual_table[channel * epilogue.residual_table_stride + q];
    }
  }
  return q;
}

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_EPILOGUE_H_
