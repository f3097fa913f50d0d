// Float loops on vectors of the compiler: every file that includes this gets its own copy for its
// own instruction set, hence the unnamed namespace and no functions of other headers. It defines
// before, likewise:
//   void widen(const uint8_t* x, Ints& y);   y[i] = x[i]
//   void narrow(const Ints& x, uint8_t* y);  y[i] = x[i], which is from 0 to 255

#ifndef FURIOSA_KERNELS_NATIVE_FLOAT_LOOPS_H_
#define FURIOSA_KERNELS_NATIVE_FLOAT_LOOPS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/native/float_kernels.h"
#include "kernels/native/float_vectors.h"

namespace furiosa::kernels {
namespace {

// Calls step(first, lanes) for kLanes elements at a time; the last call overlaps the one before.
// Where there are fewer altogether, it is called once for those.
template <class Step>
inline void for_lanes(size_t count, Step step) {
  if (count < kLanes) {
    step(size_t{0}, count);
    return;
  }
  size_t first = 0;
  for (; first + kLanes <= count; first += kLanes) step(first, kLanes);
  if (first < count) step(count - kLanes, kLanes);
}

// `lanes` bytes as integers; the other lanes are 0.
inline void load(const uint8_t* x, size_t lanes, Ints& integers) {
  if (lanes == kLanes) {
    widen(x, integers);
  } else {
    uint8_t bytes[kLanes] = {};
    __builtin_memcpy(bytes, x, lanes);
    widen(bytes, integers);
  }
}

// The low bytes of `lanes` integers from 0 to 255.
inline void store(const Ints& integers, size_t lanes, uint8_t* y) {
  if (lanes == kLanes) {
    narrow(integers, y);
  } else {
    uint8_t bytes[kLanes];
    narrow(integers, bytes);
    __builtin_memcpy(y, bytes, lanes);
  }
}

// A value between integers less than 2^22 away from 0, rounded half to even, as integers.
inline void round_small(const Floats& value, Ints& integers) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: a sum with it has no fraction
  integers = __builtin_convertvector((value + kMagic) - kMagic, Ints);
}

// The nearest value from least to most; least for a NaN.
inline void clamp(float least, float most, Floats& value) {
  value = value > least ? value : Floats{} + least;
  value = value < most ? value : Floats{} + most;
}

void average(const uint8_t* const* rows, size_t row_count, uint8_t* y, size_t count,
             const AverageParameters& p) {
  const auto bias = static_cast<float>(p.bias);
  for_lanes(count, [=](size_t first, size_t lanes) {
    Ints integers;
    Floats sum = {};
    for (size_t r = 0; r < row_count; ++r) {
      load(rows[r] + first, lanes, integers);
      sum += __builtin_convertvector(integers - p.x_zero_point, Floats) * p.x_scale;
    }
    Floats value = sum / p.count / p.y_scale + p.y_zero_point;
    // As the conversion to int32 has it on x86.
    value = value < 2147483648.0f ? value : Floats{} - bias;
    clamp(-bias, 255.0f - bias, value);
    round_small(value, integers);
    store(integers + p.bias, lanes, y + first);
  });
}

void blend(const uint8_t* const* taps, const float* weights, uint8_t* y, size_t count,
           const BlendParameters& p) {
  const auto zero_point = static_cast<float>(p.y_zero_point);
  for_lanes(count, [=](size_t first, size_t lanes) {
    Ints integers;
    Floats sum = {};
    for (size_t t = 0; t < 4; ++t) {
      load(taps[t] + first, lanes, integers);
      sum += __builtin_convertvector(integers - p.x_zero_point, Floats) * p.x_scale * weights[t];
    }
    Floats value = sum / p.y_scale;
    clamp(-zero_point, 255.0f - zero_point, value);
    round_small(value, integers);
    store(integers + p.y_zero_point, lanes, y + first);
  });
}

void blend_bytes(const uint8_t* const* taps, const float* weights, uint8_t* y, size_t count) {
  for_lanes(count, [=](size_t first, size_t lanes) {
    Ints integers;
    Floats sum = {};
    for (size_t t = 0; t < 4; ++t) {
      load(taps[t] + first, lanes, integers);
      sum += __builtin_convertvector(integers, Floats) * weights[t];
    }
    clamp(0, 255, sum);
    store(__builtin_convertvector(sum, Ints), lanes, y + first);
  });
}

void blend_fixed(const uint8_t* const* taps, const float* weights, uint8_t* y, size_t count) {
  for_lanes(count, [=](size_t first, size_t lanes) {
    Ints integers;
    Ints sum = {};
    for (size_t t = 0; t < 4; ++t) {
      load(taps[t] + first, lanes, integers);
      sum += integers * static_cast<int32_t>(weights[t]);
    }
    store(sum >> 20, lanes, y + first);
  });
}

// What x86 makes of a float that is not negative: modulo 2^32, and 0 where int64 cannot hold it.
inline uint32_t word_of(float value) {
  return value < 9223372036854775808.0f ? static_cast<uint32_t>(static_cast<int64_t>(value)) : 0;
}

// Whether no quotient of e * factor by the sum exceeds 2^22: where nothing overflows, none exceeds
// the factor by more than a rounding.
inline bool small_quotients(const SoftmaxParameters& p) {
  return p.factor < 4194303 && p.factor * p.exponentials[255] < 3.4e38;
}

// y[i] for exponentials e[0..count), with the sum that belongs to each.
inline void divide(const float* e, const Floats& sum, size_t count, bool small,
                   const SoftmaxParameters& p, uint8_t* y) {
  if (p.wide) {
    for (size_t i = 0; i < count; ++i) {
      const double v = __builtin_rint(e[i] * p.factor / sum[i]) + p.zero_point;
      y[i] = static_cast<uint8_t>(v < 255 ? v : 255);
    }
    return;
  }
  Floats value = {};
  __builtin_memcpy(&value, e, count * sizeof(float));
  value = value * static_cast<float>(p.factor) / sum;
  Ints integers;
  if (small) {
    round_small(value, integers);
  } else {
    for (size_t i = 0; i < count; ++i) {
      const uint32_t word = word_of(__builtin_rintf(value[i])) + p.zero_point;
      y[i] = static_cast<uint8_t>(word < 255 ? word : 255);
    }
    return;
  }
  integers += p.zero_point;
  store(integers < 255 ? integers : Ints{} + 255, count, y);
}

// kLanes of the rows of a softmax. Inlined into a loop, it takes a sixth longer.
[[gnu::noinline]] void softmax_lanes(const uint8_t* x, uint8_t* y, size_t length, float* scratch,
                                     const SoftmaxParameters& p) {
  uint8_t most[kLanes] = {};
  for (size_t i = 0; i < length; ++i) {
    const uint8_t* row = x + i * kSoftmaxRows;
    for (size_t r = 0; r < kLanes; ++r) most[r] = most[r] > row[r] ? most[r] : row[r];
  }
  int32_t shift[kLanes];
  for (size_t r = 0; r < kLanes; ++r) shift[r] = 255 - most[r];
  Floats sum = {};
  for (size_t i = 0; i < length; ++i) {
    const uint8_t* row = x + i * kSoftmaxRows;
    float* e = scratch + i * kLanes;
    for (size_t r = 0; r < kLanes; ++r) e[r] = p.exponentials[row[r] + shift[r]];
    Floats values;
    __builtin_memcpy(&values, e, sizeof values);
    sum += values;
  }
  const bool small = small_quotients(p);
  for (size_t i = 0; i < length; ++i) {
    divide(scratch + i * kLanes, sum, kLanes, small, p, y + i * kSoftmaxRows);
  }
}

void softmax(const uint8_t* x, uint8_t* y, size_t length, size_t rows, float* scratch,
             const SoftmaxParameters& p) {
  static_assert(kSoftmaxRows % kLanes == 0);
  for (size_t r = 0; r < rows; r += kLanes) softmax_lanes(x + r, y + r, length, scratch, p);
}

void softmax_row(const uint8_t* x, uint8_t* y, size_t length, float* scratch,
                 const SoftmaxParameters& p) {
  uint8_t most = 0;
  for (size_t i = 0; i < length; ++i) most = most > x[i] ? most : x[i];
  const float* exponentials = p.exponentials + (255 - most);
  float sum = 0;
  for (size_t i = 0; i < length; ++i) {
    scratch[i] = exponentials[x[i]];
    sum += scratch[i];
  }
  const bool small = small_quotients(p);
  const Floats sums = Floats{} + sum;
  for (size_t i = 0; i < length; i += kLanes) {
    const size_t count = length - i < kLanes ? length - i : kLanes;
    divide(scratch + i, sums, count, small, p, y + i);
  }
}

}  // namespace
}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_FLOAT_LOOPS_H_
