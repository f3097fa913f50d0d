#ifndef FURIOSA_KERNELS_NATIVE_CONV_TRANSPOSE_H_
#define FURIOSA_KERNELS_NATIVE_CONV_TRANSPOSE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/native/aligned.h"
#include "kernels/native/float_kernels.h"
#include "kernels/native/image.h"

namespace furiosa::kernels {

// A transposed convolution in float32 of dequantised bytes: docs/numerics.md has the order of its
// additions.
struct ConvTransposeProblem {
  ImageView x, y;
  Window window;
  int64_t group = 1;
  int64_t block = 1;                // channels whose products form one chain
  std::array<float, 256> values{};  // the float for each byte of x
  std::span<const float> weights;   // [x.channels, kernel_h, kernel_w, y.channels / group]
  std::span<const float> bias;      // [y.channels] or empty
};

// A transposed convolution with its weights packed.
class ConvTranspose {
 public:
  explicit ConvTranspose(const ConvTransposeProblem& problem);

  // Bytes of scratch that row() needs, on a 64-byte boundary.
  size_t scratch_size() const;

  // Computes row `row` of the result, from the image of x that starts at `image`: y.width pixels
  // of y.channels floats, which are returned and lie in the scratch.
  float* row(const uint8_t* image, int64_t row, std::byte* scratch) const;

  // Multiply-adds for a row of the result.
  int64_t row_cost() const;

 private:
  void add_tap_row(const uint8_t* line, int64_t ky, float* values, float* products,
                   float* result) const;

  ConvTransposeProblem problem_;
  size_t depth_, width_;         // channels of x and of y in a group
  size_t columns_;               // of a product: kernel_w * width_, rounded up
  AlignedBuffer<float> packed_;  // [group][kernel_h][depth_][columns_]
  const FloatKernels& kernels_;
};

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_CONV_TRANSPOSE_H_
