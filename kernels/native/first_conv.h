#ifndef FURIOSA_KERNELS_NATIVE_FIRST_CONV_H_
#define FURIOSA_KERNELS_NATIVE_FIRST_CONV_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/native/aligned.h"
#include "kernels/native/conv_problem.h"
#include "kernels/native/gemm.h"
#include "kernels/native/parallel.h"

namespace furiosa::kernels {

// The windows of a row of output pixels, each as a sequence of fours of bytes: first those of the
// kernel rows, read where the lines have them, then the packed ones (FirstConvRemainder).
struct FirstConvRow {
  const uint8_t* const* lines;  // per kernel row, the first byte that the first window reads
  size_t kernel_h;
  size_t line_fours;      // of a kernel row; its last one may reach beyond the window
  ptrdiff_t line_step;    // from one window to the next
  const uint8_t* packed;  // the packed fours: four f of pixel p is at f * packed_pitch + 4 * p
  size_t packed_fours;    // per window
  ptrdiff_t packed_pitch;
  ptrdiff_t width;       // output pixels, at least kFirstConvPixels
  const uint8_t* panel;  // the weights as gemm kernels pack them, in one tap
  const PanelScales* scales;
  size_t columns;  // output channels, at most kPanelColumns
  uint8_t* y;      // the first column of the first output pixel
  ptrdiff_t y_step;
  const Epilogue* epilogue;  // requantises and looks up in one table at most
};

// Fewest output pixels of a row.
inline constexpr int64_t kFirstConvPixels = 16;

// Bytes `first` to `first + count` of packed four `four` come from kernel row `line`, from byte
// `offset` of each window on.
struct FirstConvRemainder {
  size_t four, first, count;
  size_t line, offset;
};

// The kernels of one instruction set.
struct FirstConvKernels {
  // Computes a row.
  void (*run)(const FirstConvRow& row);
  // Writes the packed fours of whole groups of kFirstConvPixels that cover the row. line_step is
  // at most kFirstConvPackedStep.
  void (*pack)(const FirstConvRow& row, const FirstConvRemainder* remainders, size_t count,
               uint8_t* packed);
};

inline constexpr ptrdiff_t kFirstConvPackedStep = 8;

// The kernels, or nullptr where an instruction set has none.
const FirstConvKernels* first_conv_kernels(Isa isa);
extern const FirstConvKernels first_conv_avx512vnni;

// A convolution of few channels, as a network's first layer is, computed in rows of output pixels.
class FirstConv {
 public:
  // Whether there are kernels for the problem and it pays to use them.
  static bool fits(const ConvProblem& problem, Isa isa);

  FirstConv(const ConvProblem& problem, Isa isa);

  void run(const uint8_t* x, uint8_t* y, ThreadPool& pool) const;

 private:
  void divide_window();
  void pack(const ConvProblem& problem, const PanelKernels& kernels);
  void run_rows(int64_t first, int64_t last, const uint8_t* x, uint8_t* y) const;
  void run_row(FirstConvRow& row, uint8_t* y, uint8_t* spare) const;

  const FirstConvKernels* kernels_;
  ImageView x_, y_;
  Window window_;
  Epilogue epilogue_;
  uint8_t x_zero_point_;
  size_t line_bytes_;    // that a window reads of a line
  size_t line_fours_;    // of these that are not packed
  size_t packed_fours_;  // of a window
  std::vector<FirstConvRemainder> remainders_;
  size_t panel_size_;
  AlignedBuffer<uint8_t> weights_;
  AlignedBuffer<PanelScales> scales_;  // per panel
};

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_FIRST_CONV_H_
