#ifndef FURIOSA_KERNELS_NATIVE_AVX512VNNI_GEMM_HELD_H_
#define FURIOSA_KERNELS_NATIVE_AVX512VNNI_GEMM_HELD_H_

#include "kernels/native/gemm.h"

namespace furiosa::kernels::avx512vnni {

// Multiplies a block by a panel that fits into the registers as a whole, if it does; returns
// whether.
bool run_held(const PanelBlock& block);

}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_GEMM_HELD_H_
