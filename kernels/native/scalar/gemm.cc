// gemm_scalar: plain loops.
#include "kernels/native/scalar/panel.h"

namespace furiosa::kernels {
namespace {

size_t panel_size(size_t taps, size_t depth, size_t) { return taps * depth * kPanelColumns; }

size_t slot(size_t column, size_t) { return column; }

void run(const PanelBlock& block) {
  for (size_t row = 0; row < block.row_count; ++row) {
    uint32_t accumulators[kPanelColumns];
    scalar::start(block, row, accumulators);
    const uint8_t* weights = block.panel;
    for (size_t tap = 0; tap < block.taps; ++tap) {
      const uint8_t* x = block.rows[tap * block.row_pitch + row] + block.row_offset;
      for (size_t channel = 0; channel < block.depth; ++channel, weights += kPanelColumns) {
        for (size_t column = 0; column < kPanelColumns; ++column) {
          accumulators[column] +=
              static_cast<uint32_t>(x[channel] * static_cast<int8_t>(weights[column]));
        }
      }
    }
    scalar::store(block, row, accumulators);
  }
}

}  // namespace

const PanelKernels gemm_scalar = {"gemm_scalar", panel_size, scalar::pack, slot, run};

}  // namespace furiosa::kernels
