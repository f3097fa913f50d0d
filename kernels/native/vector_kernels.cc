#include "kernels/native/vector_kernels.h"

namespace furiosa::kernels {

const VectorKernels& vector_kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512Vnni) return kAvx512VnniVectorKernels;
  if (isa >= Isa::kAvx2) return kAvx2VectorKernels;
#endif
  return kScalarVectorKernels;
}

}  // namespace furiosa::kernels
