// depthwise_avxvnni and the depthwise rows of AVX-VNNI: units are four taps.

#include "kernels/native/avx2/depthwise_lines.h"
#include "kernels/native/avx2/depthwise_panel.h"
#include "kernels/native/avxvnni/vnni.h"

namespace furiosa::kernels {

using avxvnni::Bytes;

const PanelKernels depthwise_avxvnni = {"depthwise_avxvnni", avx2::depthwise_panel_size<Bytes>,
                                        avx2::pack_depthwise<Bytes>, avx2::depthwise_slot,
                                        avx2::run_depthwise<Bytes>};

DepthwiseRowKernel depthwise_row_kernel_avxvnni(int64_t kernel_h, int64_t kernel_w,
                                                int64_t stride_w) {
  const int64_t units = (kernel_h + 3) / 4;
  if (units == 1 && kernel_w == 3 && stride_w == 1) return avx2::run_lines<Bytes, 1, 1, 3, 1>;
  if (units == 1 && kernel_w == 3 && stride_w == 2) return avx2::run_lines<Bytes, 1, 1, 3, 2>;
  if (units == 2 && kernel_w == 5 && stride_w == 1) return avx2::run_lines<Bytes, 2, 2, 5, 1>;
  if (units == 2 && kernel_w == 5 && stride_w == 2) return avx2::run_lines<Bytes, 2, 2, 5, 2>;
  return nullptr;
}

}  // namespace furiosa::kernels
