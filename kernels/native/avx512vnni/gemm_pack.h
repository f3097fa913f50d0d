#ifndef FURIOSA_KERNELS_NATIVE_AVX512VNNI_GEMM_PACK_H_
#define FURIOSA_KERNELS_NATIVE_AVX512VNNI_GEMM_PACK_H_

#include "kernels/native/gemm.h"

namespace furiosa::kernels::avx512vnni {

// Packs a panel for gemm_avx512vnni: [tap][channel / 4][V] vectors of 16 columns (in slot order) by
// 4 channels, with zeros for columns and channels that are not there.
void pack_gemm(const PanelSource& source, uint8_t* panel, int32_t* column_sums);

}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_GEMM_PACK_H_
