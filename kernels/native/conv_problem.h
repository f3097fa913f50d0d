#ifndef FURIOSA_KERNELS_NATIVE_CONV_PROBLEM_H_
#define FURIOSA_KERNELS_NATIVE_CONV_PROBLEM_H_

#include <cstdint>

#include "kernels/native/epilogue.h"
#include "kernels/native/image.h"

namespace furiosa::kernels {

// A convolution of bytes by integers: shapes, constants, epilogue. All counts are at least 1, the
// views fit each other, group divides both channel counts, pads are not negative.
struct ConvProblem {
  ImageView x;
  ImageView y;
  ImageView residual;  // where epilogue.add_residual: the dims of y
  Window window;
  int64_t group = 1;
  uint8_t x_zero_point = 0;
  // [y.channels][kernel_h][kernel_w][x.channels / group]; one of the two is not nullptr.
  const int8_t* weights = nullptr;
  const int16_t* wide_weights = nullptr;
  const int32_t* bias = nullptr;      // [y.channels]
  const float* multiplier = nullptr;  // [y.channels]
  Epilogue epilogue;                  // `bounded` is what is_bounded() says
};

// Whether neither an accumulator times its multiplier nor a sum with the residual can reach 2^31.
bool is_bounded(const ConvProblem& problem);

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_CONV_PROBLEM_H_
