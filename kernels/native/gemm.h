#ifndef FURIOSA_KERNELS_NATIVE_GEMM_H_
#define FURIOSA_KERNELS_NATIVE_GEMM_H_

#include <cstddef>
#include <cstdint>

#include "kernels/native/epilogue.h"
#include "kernels/native/isa.h"

namespace furiosa::kernels {

// Most columns (output channels) that one packed panel of weights holds.
inline constexpr size_t kPanelColumns = 64;

// Rows that a kernel may compute in vain behind those of a block.
inline constexpr size_t kSpareRows = 28;

// Weights to pack: element (tap, channel, column) of a byte matrix, int8 once xored with `flip`.
struct PanelSource {
  const uint8_t* data;
  ptrdiff_t tap_stride;
  ptrdiff_t channel_stride;
  ptrdiff_t column_stride;
  size_t taps;
  size_t depth;    // channels of a tap
  size_t columns;  // at most kPanelColumns
  uint8_t flip;    // 0x80 where the bytes are uint8
};

// What a column's accumulator starts with and is multiplied by, in slot order (PanelKernels::slot).
struct alignas(64) PanelScales {
  int32_t bias[kPanelColumns];
  float multiplier[kPanelColumns];
};

// Rows of bytes, found by pointers, times one panel of weights. Tap t of row r starts at
// rows[t * row_pitch + r] + row_offset + t * tap_step. In a matrix product (gemm_*) every column
// takes all `depth` bytes of every tap; in a depthwise one (depthwise_*) column c takes byte c of
// every tap. Accumulators are int32 and wrap around. Behind the row_count entries for its rows,
// each array has kSpareRows more, of rows that may be read and, in y, written.
struct PanelBlock {
  const uint8_t* const* rows;
  size_t row_pitch;
  ptrdiff_t row_offset;
  ptrdiff_t tap_step;  // 0, but for kernels with tap_steps
  size_t row_count;
  const int32_t* row_bias;  // added to every accumulator of a row; may be nullptr
  size_t taps;
  size_t depth;
  const uint8_t* panel;
  const PanelScales* scales;
  size_t first_column;  // the panel's first column among those of y
  size_t columns;
  void* const* y;                  // per row, the element of column 0
  const uint8_t* const* residual;  // likewise; only read where the epilogue adds a residual
  const Epilogue* epilogue;
  const uint8_t* next_panel;  // the panel that will be needed next, to be fetched; or nullptr
};

// The kernels of one instruction set.
struct PanelKernels {
  const char* name;
  // Bytes that a packed panel takes.
  size_t (*panel_size)(size_t taps, size_t depth, size_t columns);
  // Packs a panel. Where column_sums is not nullptr, it receives the sum of each column's weights.
  void (*pack)(const PanelSource& source, uint8_t* panel, int32_t* column_sums);
  // Where the scales of a column are, in a panel of `columns`.
  size_t (*slot)(size_t column, size_t columns);
  void (*run)(const PanelBlock& block);
  bool tap_steps = false;  // whether PanelBlock::tap_step may be other than 0
};

// The kernels for all columns of a matrix product; `depth` is that of a tap.
const PanelKernels& gemm_kernels(Isa isa);
const PanelKernels& gemm_kernels(Isa isa, size_t columns, size_t depth, const Epilogue& epilogue);
const PanelKernels& depthwise_kernels(Isa isa);

// One line per instruction set that has kernels of its own.
extern const PanelKernels gemm_scalar, depthwise_scalar;
extern const PanelKernels gemm_avx2, depthwise_avx2;
extern const PanelKernels gemm_avxvnni, depthwise_avxvnni;
extern const PanelKernels gemm_avx512vnni, gemm_24_avx512vnni, depthwise_avx512vnni;
extern const PanelKernels gemm_neon, depthwise_neon;

// Whether gemm_24_avx512vnni is meant for such a product.
bool fits_gemm_24(size_t columns, size_t depth, const Epilogue& epilogue);

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_GEMM_H_
