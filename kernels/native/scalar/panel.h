#ifndef FURIOSA_KERNELS_NATIVE_SCALAR_PANEL_H_
#define FURIOSA_KERNELS_NATIVE_SCALAR_PANEL_H_

#include "kernels/native/gemm.h"

namespace furiosa::kernels::scalar {

// Packs as [tap][channel][kPanelColumns] int8, with zeros in the columns that are not there.
void pack(const PanelSource& source, uint8_t* panel, int32_t* column_sums);

// Sets the accumulators of a row to what they start with.
void start(const PanelBlock& block, size_t row, uint32_t* accumulators);

// Takes the accumulators of a row through the epilogue.
void store(const PanelBlock& block, size_t row, const uint32_t* accumulators);

}  // namespace furiosa::kernels::scalar

#endif  // FURIOSA_KERNELS_NATIVE_SCALAR_PANEL_H_
