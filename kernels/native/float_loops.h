// Float loops for the compiler to vectorise: every file that includes this gets its own copy for
// its own instruction set, hence the unnamed namespace and no functions of other headers.

#ifndef FURIOSA_KERNELS_NATIVE_FLOAT_LOOPS_H_
#define FURIOSA_KERNELS_NATIVE_FLOAT_LOOPS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/native/float_kernels.h"

namespace furiosa::kernels {
namespace {

constexpr size_t kLanes = 32;  // elements that a loop works on at a time, in registers

// Calls step(first, lanes) for blocks of kLanes elements and then for what is left: the two calls
// are compiled apart, the first for a constant number of lanes.
template <class Step>
inline void for_lanes(size_t count, Step step) {
  size_t first = 0;
  for (; first + kLanes <= count; first += kLanes) step(first, kLanes);
  if (first < count) step(first, count - first);
}

// A float between integers less than 2^22 away from 0, rounded half to even.
inline int32_t round_small(float value) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: a sum with it has no fraction
  return static_cast<int32_t>((value + kMagic) - kMagic);
}

// The larger; the second where one is a NaN. Likewise the smaller.
inline float larger(float a, float b) { return a > b ? a : b; }
inline float smaller(float a, float b) { return a < b ? a : b; }

void average(const uint8_t* const* rows, size_t row_count, uint8_t* y, size_t count,
             const AverageParameters& p) {
  const auto least = static_cast<float>(-p.bias);
  const auto most = static_cast<float>(255 - p.bias);
  for_lanes(count, [=](size_t first, size_t lanes) __attribute__((always_inline)) {
    float sum[kLanes] = {};
    for (size_t r = 0; r < row_count; ++r) {
      const uint8_t* x = rows[r] + first;
      for (size_t i = 0; i < lanes; ++i) {
        sum[i] += static_cast<float>(x[i] - p.x_zero_point) * p.x_scale;
      }
    }
    for (size_t i = 0; i < lanes; ++i) {
      float value = sum[i] / p.count / p.y_scale + p.y_zero_point;
      value = value < 2147483648.0f ? value : least;  // as the conversion to int32 has it on x86
      value = smaller(larger(value, least), most);
      y[first + i] = static_cast<uint8_t>(round_small(value) + p.bias);
    }
  });
}

void blend(const uint8_t* const* taps, const float* weights, uint8_t* y, size_t count,
           const BlendParameters& p) {
  const auto least = static_cast<float>(-p.y_zero_point);
  const auto most = static_cast<float>(255 - p.y_zero_point);
  for_lanes(count, [=](size_t first, size_t lanes) __attribute__((always_inline)) {
    float sum[kLanes] = {};
    for (size_t t = 0; t < 4; ++t) {
      const uint8_t* x = taps[t] + first;
      const float weight = weights[t];
      for (size_t i = 0; i < lanes; ++i) {
        sum[i] += weight * (static_cast<float>(x[i] - p.x_zero_point) * p.x_scale);
      }
    }
    for (size_t i = 0; i < lanes; ++i) {
      const float value = smaller(larger(sum[i] / p.y_scale, least), most);
      y[first + i] = static_cast<uint8_t>(round_small(value) + p.y_zero_point);
    }
  });
}

void blend_bytes(const uint8_t* const* taps, const float* weights, uint8_t* y, size_t count) {
  for_lanes(count, [=](size_t first, size_t lanes) __attribute__((always_inline)) {
    float sum[kLanes] = {};
    for (size_t t = 0; t < 4; ++t) {
      const uint8_t* x = taps[t] + first;
      const float weight = weights[t];
      for (size_t i = 0; i < lanes; ++i) sum[i] += weight * static_cast<float>(x[i]);
    }
    for (size_t i = 0; i < lanes; ++i) {
      const float value = smaller(larger(sum[i], 0), 255);
      y[first + i] = static_cast<uint8_t>(static_cast<int32_t>(value));
    }
  });
}

void blend_fixed(const uint8_t* const* taps, const float* weights, uint8_t* y, size_t count) {
  uint32_t integers[4];
  for (size_t t = 0; t < 4; ++t) {
    integers[t] = static_cast<uint32_t>(smaller(larger(weights[t], 0), 1048576));
  }
  for_lanes(count, [=, &integers](size_t first, size_t lanes) __attribute__((always_inline)) {
    uint32_t sum[kLanes] = {};
    for (size_t t = 0; t < 4; ++t) {
      const uint8_t* x = taps[t] + first;
      const uint32_t weight = integers[t];
      for (size_t i = 0; i < lanes; ++i) sum[i] += weight * x[i];
    }
    for (size_t i = 0; i < lanes; ++i) y[first + i] = static_cast<uint8_t>(sum[i] >> 20);
  });
}

// What x86 makes of a float that is not negative: modulo 2^32, and 0 where int64 cannot hold it.
inline uint32_t word_of(float value) {
  return value < 9223372036854775808.0f ? static_cast<uint32_t>(static_cast<int64_t>(value)) : 0;
}

void softmax(const uint8_t* x, uint8_t* y, size_t length, float* scratch,
             const SoftmaxParameters& p) {
  constexpr size_t kRows = kSoftmaxRows;
  uint8_t most[kRows] = {};
  for (size_t i = 0; i < length; ++i) {
    const uint8_t* row = x + i * kRows;
    for (size_t r = 0; r < kRows; ++r) most[r] = most[r] > row[r] ? most[r] : row[r];
  }
  int32_t shift[kRows];
  for (size_t r = 0; r < kRows; ++r) shift[r] = 255 - most[r];
  float sum[kRows] = {};
  for (size_t i = 0; i < length; ++i) {
    const uint8_t* row = x + i * kRows;
    for (size_t r = 0; r < kRows; ++r) {
      const float e = p.exponentials[row[r] + shift[r]];
      scratch[i * kRows + r] = e;
      sum[r] += e;
    }
  }
  // Where nothing overflows, no quotient exceeds the factor by more than a rounding.
  const bool small = p.factor < 4194304 && p.factor * p.exponentials[255] < 3.4e38f;
  for (size_t i = 0; i < length; ++i) {
    const float* e = scratch + i * kRows;
    uint8_t* out = y + i * kRows;
    if (small) {
      for (size_t r = 0; r < kRows; ++r) {
        const uint32_t word =
            static_cast<uint32_t>(round_small(e[r] * p.factor / sum[r])) + p.zero_point;
        out[r] = static_cast<uint8_t>(word < 255 ? word : 255);
      }
    } else {
      for (size_t r = 0; r < kRows; ++r) {
        const uint32_t word = word_of(__builtin_rintf(e[r] * p.factor / sum[r])) + p.zero_point;
        out[r] = static_cast<uint8_t>(word < 255 ? word : 255);
      }
    }
  }
}

}  // namespace
}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_FLOAT_LOOPS_H_
