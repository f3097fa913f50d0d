#ifndef FURIOSA_KERNELS_NATIVE_CONV_H_
#define FURIOSA_KERNELS_NATIVE_CONV_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/native/aligned.h"
#include "kernels/native/conv_problem.h"
#include "kernels/native/depthwise.h"
#include "kernels/native/first_conv.h"
#include "kernels/native/gemm.h"
#include "kernels/native/image.h"
#include "kernels/native/isa.h"
#include "kernels/native/parallel.h"
#include "kernels/native/table_kernels.h"

namespace furiosa::kernels {

// A convolution that is packed and planned for one instruction set. Immutable: runs may overlap.
class Conv {
 public:
  // Copies weights, bias and multiplier; the epilogue's tables must outlive the object.
  Conv(const ConvProblem& problem, Isa isa);

  // Pointers to the first elements of the views; `residual` is ignored where none is added. y may
  // share memory with the residual if both are the same view, and with nothing else.
  void run(const uint8_t* x, void* y, const uint8_t* residual, ThreadPool& pool) const;

 private:
  // One panel of weights and where its columns are.
  struct Panel {
    size_t offset;         // into weights_
    ptrdiff_t row_offset;  // from a pixel's first channel to the first that the panel reads
    size_t first_column;
    size_t columns;
  };
  // The output pixels and panels of one task.
  struct Share {
    int64_t first_pixel, last_pixel;
    size_t first_panel, last_panel;
  };
  struct Weights;

  void pack(const ConvProblem& problem, bool depthwise);
  size_t first_panel(int64_t part, int64_t parts) const;
  int64_t longest(int64_t pixel_tasks, int64_t panel_tasks) const;
  void split(int64_t threads, int64_t* pixel_tasks, int64_t* panel_tasks) const;
  void run_share(const Share& share, const uint8_t* x, void* y, const uint8_t* residual) const;
  void run_block(const Share& share, int64_t first, size_t count, const uint8_t* x, void* y,
                 const uint8_t* residual) const;
  void look_up(const Share& share, int64_t first, int64_t count, void* y) const;
  Rectangle around(int64_t first, size_t count) const;
  Rectangle gathered(int64_t first, size_t count) const;
  void gather(const uint8_t* x, int64_t first, size_t count, uint8_t* copies,
              const uint8_t** rows) const;

  const PanelKernels* kernels_ = nullptr;
  ImageView x_, y_, residual_;
  Window window_;
  Epilogue epilogue_;
  const uint8_t* tables_ = nullptr;  // of the columns, if applied after the epilogue, by look_up_
  void (*look_up_)(const TableLookup& lookup) = nullptr;
  uint8_t x_zero_point_;
  int64_t work_;            // multiply-adds of a run
  bool gather_ = false;     // taps of a kernel row are one tap, read from a padded copy of the rows
  bool steps_ = false;      // taps are found by steps from the first one
  size_t copies_ = 1;       // how often the taps repeat, where weights are a sum of int8 weights
  size_t taps_ = 0;         // of a panel, repetitions included
  size_t depth_ = 0;        // bytes of a tap
  int64_t block_rows_ = 0;  // most output pixels that are computed at once
  AlignedBuffer<uint8_t> weights_;
  AlignedBuffer<PanelScales> scales_;  // per panel
  std::vector<Panel> panels_;
  std::vector<uint8_t> outside_;                    // the pixel outside the image
  std::unique_ptr<const DepthwiseConv> depthwise_;  // does all, where it can
  std::unique_ptr<const FirstConv> first_;          // likewise
};

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_CONV_H_
