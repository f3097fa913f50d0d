#include "kernels/native/gemm.h"

namespace furiosa::kernels {

const PanelKernels& gemm_kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512Vnni) return gemm_avx512vnni;
  if (isa >= Isa::kAvxVnni) return gemm_avxvnni;
  if (isa >= Isa::kAvx2) return gemm_avx2;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return gemm_neon;
#endif
  return gemm_scalar;
}

const PanelKernels& gemm_kernels(Isa isa, [[maybe_unused]] size_t columns,
                                 [[maybe_unused]] size_t depth,
                                 [[maybe_unused]] const Epilogue& epilogue) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512Vnni && fits_gemm_24(columns, depth, epilogue)) return gemm_24_avx512vnni;
#endif
  return gemm_kernels(isa);
}

const PanelKernels& depthwise_kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512Vnni) return depthwise_avx512vnni;
  if (isa >= Isa::kAvxVnni) return depthwise_avxvnni;
  if (isa >= Isa::kAvx2) return depthwise_avx2;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return depthwise_neon;
#endif
  return depthwise_scalar;
}

}  // namespace furiosa::kernels
