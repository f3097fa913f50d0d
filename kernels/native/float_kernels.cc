#include "kernels/native/float_kernels.h"

namespace furiosa::kernels {

const FloatKernels& float_kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512Vnni) return kAvx512VnniFloatKernels;
  if (isa >= Isa::kAvx2) return kAvx2FloatKernels;
#endif
  return kScalarFloatKernels;
}

}  // namespace furiosa::kernels
