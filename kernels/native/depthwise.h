#ifndef FURIOSA_KERNELS_NATIVE_DEPTHWISE_H_
#define FURIOSA_KERNELS_NATIVE_DEPTHWISE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/native/aligned.h"
#include "kernels/native/conv_problem.h"
#include "kernels/native/gemm.h"
#include "kernels/native/parallel.h"

namespace furiosa::kernels {

// Some rows of output pixels of up to 64 channels: a group of rows, one below the other, which
// share most of their input. Where there are at most 32 or 16 channels, two or four groups (parts)
// are computed in lockstep, so that they fill a vector.
struct DepthwiseRows {
  static constexpr size_t kMaxParts = 4;
  static constexpr size_t kMaxRows = 4;
  static constexpr size_t kMaxLines = 8;

  // An input row: where its first pixel is, and the way to the next; outside the image, the pixel
  // that stands for any there, and 0.
  struct Line {
    const uint8_t* start;
    ptrdiff_t step;
  };

  size_t parts;         // 1, 2 or 4
  size_t rows;          // of a part, at most kMaxRows
  size_t columns;       // channels, at most 64 / parts
  size_t first_column;  // among the channels of y
  bool gapless;         // all channels: the pixels of x, and those of y, follow one another
  ptrdiff_t width;      // output pixels of a row
  ptrdiff_t pad;        // columns left of the image
  ptrdiff_t input_width;
  const uint8_t* outside;            // the pixel outside the image, 64 bytes
  Line lines[kMaxParts][kMaxLines];  // of each part; beyond the input of its rows, any
  const uint8_t* panel;
  const uint8_t* next_panel;  // that will be needed next, to be fetched; or nullptr
  const PanelScales* scales;
  uint8_t* y[kMaxParts][kMaxRows];  // the first output pixel; nullptr for a row that is not there
  ptrdiff_t y_step;
  const uint8_t* residual[kMaxParts][kMaxRows];
  ptrdiff_t residual_step;
  const Epilogue* epilogue;
};

// A kernel for rows of one window shape. Its panel is [row][kernel_w][group of 4 lines] vectors as
// depthwise kernels pack them, for 64 columns: the channels as often as there are parts. The
// weights of a row are those of the lines that it reads, and zero for the others. No accumulator
// times its multiplier may reach 2^31.
using DepthwiseRowKernel = void (*)(const DepthwiseRows& rows);

// The kernel for a window, or nullptr where there is none. Dilation along rows is 1.
DepthwiseRowKernel depthwise_row_kernel(Isa isa, const Window& window);
DepthwiseRowKernel depthwise_row_kernel_avx2(int64_t kernel_h, int64_t kernel_w, int64_t stride_w);
DepthwiseRowKernel depthwise_row_kernel_avxvnni(int64_t kernel_h, int64_t kernel_w,
                                                int64_t stride_w);
DepthwiseRowKernel depthwise_row_kernel_avx512vnni(int64_t kernel_h, int64_t kernel_w,
                                                   int64_t stride_w);

// A depthwise convolution, computed in rows.
class DepthwiseConv {
 public:
  // Whether there are kernels for the problem.
  static bool fits(const ConvProblem& problem, Isa isa);

  DepthwiseConv(const ConvProblem& problem, Isa isa);

  void run(const uint8_t* x, uint8_t* y, const uint8_t* residual, ThreadPool& pool) const;

 private:
  struct Panel {
    size_t offset;  // into weights_
    size_t first_column;
    size_t columns;
    size_t parts;
  };

  void pack(const ConvProblem& problem, const PanelKernels& kernels);
  void run_groups(size_t panel, size_t next_panel, int64_t first, int64_t last, const uint8_t* x,
                  uint8_t* y, const uint8_t* residual) const;
  void point_rows(DepthwiseRows* rows, size_t part, int64_t group, const uint8_t* x, uint8_t* y,
                  const uint8_t* residual) const;

  DepthwiseRowKernel kernel_;
  ImageView x_, y_, residual_;
  Window window_;
  Epilogue epilogue_;
  int64_t rows_;    // of a group
  int64_t groups_;  // of an image
  AlignedBuffer<uint8_t> weights_;
  AlignedBuffer<PanelScales> scales_;
  std::vector<Panel> panels_;
  std::vector<uint8_t> outside_;
};

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_DEPTHWISE_H_
