// depthwise_avx2 and the depthwise rows of AVX2: units are two taps, widened to 16 bits.

#include "kernels/native/avx2/depthwise_lines.h"
#include "kernels/native/avx2/depthwise_panel.h"
#include "kernels/native/avx2/words.h"

namespace furiosa::kernels {

using avx2::Words;

const PanelKernels depthwise_avx2 = {"depthwise_avx2", avx2::depthwise_panel_size<Words>,
                                     avx2::pack_depthwise<Words>, avx2::depthwise_slot,
                                     avx2::run_depthwise<Words>};

DepthwiseRowKernel depthwise_row_kernel_avx2(int64_t kernel_h, int64_t kernel_w, int64_t stride_w) {
  return avx2::lines_kernel<Words>(kernel_h, kernel_w, stride_w);
}

}  // namespace furiosa::kernels
