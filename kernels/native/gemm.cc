#include "kernels/native/gemm.h"

namespace furiosa::kernels {

const PanelKernels& gemm_kernels([[maybe_unused]] Isa isa) { return gemm_scalar; }

const PanelKernels& depthwise_kernels([[maybe_unused]] Isa isa) { return depthwise_scalar; }

}  // namespace furiosa::kernels
