#include "kernels/native/scalar/panel.h"

namespace furiosa::kernels::scalar {

void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums) {
  uint32_t sums[kPanelColumns] = {};
  for (size_t tap = 0; tap < source.taps; ++tap) {
    for (size_t channel = 0; channel < source.depth; ++channel, panel += kPanelColumns) {
      const uint8_t* from = source.data + static_cast<ptrdiff_t>(tap) * source.tap_stride +
                            static_cast<ptrdiff_t>(channel) * source.channel_stride;
      for (size_t column = 0; column < kPanelColumns; ++column) {
        panel[column] = 0;
        if (column >= source.columns) continue;
        panel[column] = from[static_cast<ptrdiff_t>(column) * source.column_stride] ^ source.flip;
        sums[column] += static_cast<uint32_t>(static_cast<int8_t>(panel[column]));
      }
    }
  }
  for (size_t column = 0; column_sums != nullptr && column < source.columns; ++column) {
    column_sums[column] = static_cast<int32_t>(sums[column]);
  }
}

void start(const PanelBlock& block, size_t row, uint32_t* accumulators) {
  const uint32_t own = block.row_bias == nullptr ? 0 : static_cast<uint32_t>(block.row_bias[row]);
  for (size_t column = 0; column < kPanelColumns; ++column) {
    accumulators[column] = static_cast<uint32_t>(block.scales->bias[column]) + own;
  }
}

void store(const PanelBlock& block, size_t row, const uint32_t* accumulators) {
  const Epilogue& epilogue = *block.epilogue;
  const float* multiplier = block.scales->multiplier;
  for (size_t column = 0; column < block.columns; ++column) {
    const int32_t sum = static_cast<int32_t>(accumulators[column]);
    const size_t channel = block.first_column + column;
    if (epilogue.to_float) {
      static_cast<float*>(block.y[row])[channel] = static_cast<float>(sum) * multiplier[column];
      continue;
    }
    const uint8_t* residual = epilogue.add_residual ? block.residual[row] + channel : nullptr;
    const uint8_t q = requantise(sum, multiplier[column], epilogue.y_zero_point);
    static_cast<uint8_t*>(block.y[row])[channel] = finish(epilogue, q, channel, residual);
  }
}

}  // namespace furiosa::kernels::scalar
