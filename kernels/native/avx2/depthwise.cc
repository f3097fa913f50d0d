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
  if (kernel_h <= 4 && kernel_w == 3 && stride_w == 1) return avx2::run_lines<Words, 2, 2, 3, 1>;
  if (kernel_h <= 4 && kernel_w == 3 && stride_w == 2) return avx2::run_lines<Words, 2, 2, 3, 2>;
  if (kernel_h <= 4 || kernel_h > 6) return nullptr;  // other panels, or more units
  if (kernel_w == 5 && stride_w == 1) return avx2::run_lines<Words, 3, 4, 5, 1>;
  if (kernel_w == 5 && stride_w == 2) return avx2::run_lines<Words, 3, 4, 5, 2>;
  return nullptr;
}

}  // namespace furiosa::kernels
