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

// Fewest output pixels of a row, and what the room for packed fours is a multiple of.
inline constexpr int64_t kFirstConvPixels = 16;
// Most bytes from one window to the next where fours are packed.
inline constexpr int64_t kFirstConvPackedStep = 8;

// Bytes of a kernel row that go into a packed four.
struct FirstConvRemainder {
  size_t line;
  ptrdiff_t offset;  // of byte 0 of the four, from the window's first byte in the line
  ptrdiff_t four;
  uint64_t mask;  // the bytes, of sixteen fours
  bool last;      // of those of the four
};

// The windows of a row of output pixels, each as a sequence of fours of bytes: first those of the
// kernel rows, read where the lines have them, then fours packed of what is left of the rows.
struct FirstConvRow {
  const uint8_t* const* lines;  // per kernel row, the first byte that the first window reads
  size_t kernel_h;
  size_t line_fours;    // of a kernel row; its last one may reach beyond the window
  ptrdiff_t line_step;  // from one window to the next
  const FirstConvRemainder* remainders;
  size_t remainder_count;  // 0 also where the fours are packed already
  size_t packed_fours;     // per window
  uint8_t* packed;         // four f of pixel p is at f * packed_pitch + 4 * p
  ptrdiff_t packed_pitch;
  ptrdiff_t width;       // output pixels, at least kFirstConvPixels
  const uint8_t* panel;  // the weights as gemm kernels pack them, in one tap
  const PanelScales* scales;
  size_t columns;  // output channels, at most kPanelColumns
  uint8_t* y;      // the first column of the first output pixel
  ptrdiff_t y_step;
  const Epilogue* epilogue;  // bounded, with one table at most, and no residual
};

// Computes a row; packs its fours before.
using FirstConvKernel = void (*)(const FirstConvRow& row);

// The kernel, or nullptr where an instruction set has none.
FirstConvKernel first_conv_kernel(Isa isa);
void first_conv_row_avx512vnni(const FirstConvRow& row);

// A convolution of few channels, as a network's first layer is, computed in rows of output pixels.
class FirstConv {
 public:
  // Whether there is a kernel for the problem and it pays to use it.
  static bool fits(const ConvProblem& problem, Isa isa);

  FirstConv(const ConvProblem& problem, Isa isa);

  void run(const uint8_t* x, uint8_t* y, ThreadPool& pool) const;

 private:
  class Lines;

  void divide_window();
  void pack(const ConvProblem& problem, const PanelKernels& kernels);
  void run_rows(int64_t first, int64_t last, const uint8_t* x, uint8_t* y) const;
  void run_row(FirstConvRow& row, uint8_t* y, uint8_t* spare) const;

  FirstConvKernel kernel_;
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
