#ifndef FURIOSA_KERNELS_NATIVE_CONV_TRANSPOSE_H_
#define FURIOSA_KERNELS_NATIVE_CONV_TRANSPOSE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/native/aligned.h"
#include "kernels/native/float_kernels.h"
#include "kernels/native/image.h"
#include "kernels/native/vector_kernels.h"

namespace furiosa::kernels {

// A transposed convolution in float32 of dequantised bytes: docs/numerics.md has the order of its
// additions.
struct ConvTransposeProblem {
  ImageView x, y;
  Window window;
  int64_t group = 1;
  int64_t block = 1;  // channels whose products form one chain
  float x_scale = 1;
  int32_t x_zero_point = 0;
  std::span<const float> weights;  // [x.channels, kernel_h, kernel_w, y.channels / group]
  std::span<const float> bias;     // [y.channels] or empty
};

// A transposed convolution with its weights packed.
class ConvTranspose {
 public:
  explicit ConvTranspose(const ConvTransposeProblem& problem);

  // Bytes of scratch that row() needs, on a 64-byte boundary.
  size_t scratch_size() const { return scratch_size_; }

  // Computes row `row` of the result, from the image of x that starts at `image`: y.width pixels
  // of y.channels floats, which are returned and lie in the scratch.
  const float* row(const uint8_t* image, int64_t row, std::byte* scratch) const;

  // Multiply-adds for a row of the result.
  int64_t row_cost() const;

 private:
  void add_by_channels(const uint8_t* line, size_t tap_row, float* result, float* scratch) const;
  void add_by_pixels(const uint8_t* line, size_t tap_row, float* result, float* scratch) const;
  void add_products(const float* products, size_t pixel_step, size_t channel_step,
                    float* result) const;

  ConvTransposeProblem problem_;
  size_t pixels_;         // in a row of x
  size_t depth_, width_;  // channels of x and of y in a group
  size_t used_;           // results of a pixel of x in a row of the kernel
  // Whether the vectors of a product run along pixels, as a pixel has few results.
  bool by_pixels_;
  size_t columns_;               // of a product: used_ or pixels_, rounded up
  AlignedBuffer<float> packed_;  // per group and row of the kernel: [depth_][columns_], or
                                 // [used_][depth_] by pixels
  size_t scratch_size_;
  const FloatKernels& kernels_;
  const VectorKernels& vector_kernels_;
};

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_CONV_TRANSPOSE_H_
