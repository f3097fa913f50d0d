#ifndef FURIOSA_KERNELS_NATIVE_CONV_TRANSPOSE_PATCHES_H_
#define FURIOSA_KERNELS_NATIVE_CONV_TRANSPOSE_PATCHES_H_

#include "kernels/native/conv_transpose.h"
#include "kernels/native/patch_kernels.h"

namespace furiosa::kernels {

// How the sums of a ConvTranspose become bytes.
struct ByteResult {
  float scale = 1;
  int32_t zero_point = 0;
  const uint8_t* tables = nullptr;
  size_t table_stride = 0;  // 256 for a table per channel
};

// A ConvTranspose to bytes where each pixel of x makes a patch of y of its own, as the window moves
// by its own size. Pixels are side by side in vectors, so that channels may be few and each may
// have its table.
class ConvTransposePatches {
 public:
  static bool fits(const ConvTransposeProblem& problem, const ByteResult& result);

  // The bias and the tables must outlive it.
  ConvTransposePatches(const ConvTransposeProblem& problem, const ByteResult& result);

  // The pixels of x come in this many blocks.
  int64_t blocks() const;
  // Multiply-adds for one of them.
  int64_t block_cost() const { return static_cast<int64_t>(kLanePixels * depth_ * rows_); }
  // Bytes of scratch that run() needs, on a 64-byte boundary.
  size_t scratch_size() const { return (depth_ + rows_ + 1) * kLanePixels * sizeof(float); }

  // Computes the patches of blocks [begin, end).
  void run(const uint8_t* x, uint8_t* y, int64_t begin, int64_t end, std::byte* scratch) const;

 private:
  ConvTransposeProblem problem_;
  ByteResult result_;
  size_t depth_;                 // channels of x
  size_t used_;                  // results of a pixel of x in a row of the kernel
  size_t rows_;                  // results of a pixel of x
  AlignedBuffer<float> packed_;  // [rows_][depth_]
  const FloatKernels& kernels_;
  const PatchKernels& patch_kernels_;
};

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_CONV_TRANSPOSE_PATCHES_H_
