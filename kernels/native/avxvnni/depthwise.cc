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
  return avx2::lines_kernel<Bytes>(kernel_h, kernel_w, stride_w);
}

}  // namespace furiosa::kernels
