#include "kernels/native/patch_kernels.h"

#include <algorithm>

#include "kernels/native/vector_kernels.h"

namespace furiosa::kernels {
namespace {

constexpr size_t kChannels = 16;  // at a time

template <const VectorKernels& kKernels>
void to_lanes(const PixelsToLanes& p) {
  uint8_t bytes[kChannels * kLanePixels] = {};
  for (size_t first = 0; first < p.channels; first += kChannels) {
    const size_t channels = std::min(kChannels, p.channels - first);
    kKernels.transpose(p.x + first, p.pixel_stride, bytes, kLanePixels, channels, p.pixels);
    kKernels.dequantize(bytes, p.y + first * kLanePixels, channels * kLanePixels, p.scale,
                        p.zero_point);
  }
}

template <const VectorKernels& kKernels>
void to_pixels(const LanesToPixels& p) {
  uint8_t bytes[kChannels * kLanePixels];
  for (size_t first = 0; first < p.rows; first += kChannels) {
    const size_t rows = std::min(kChannels, p.rows - first);
    for (size_t r = 0; r < rows; ++r) {
      const float* x = p.x + (first + r) * kLanePixels;
      uint8_t* y = bytes + r * kLanePixels;
      const size_t channel = (first + r) % p.channels;
      float sums[kLanePixels];
      const float bias = p.bias == nullptr ? 0 : p.bias[channel];
      for (size_t i = 0; i < p.pixels; ++i) sums[i] = x[i] + bias;
      kKernels.quantize(sums, y, p.pixels, p.scale, p.zero_point);
      if (p.tables == nullptr) continue;
      kKernels.lookup_rows(
          {y, kLanePixels, y, kLanePixels, 1, p.pixels, p.tables + channel * p.table_stride});
    }
    kKernels.transpose(bytes, kLanePixels, p.y + first, static_cast<ptrdiff_t>(p.rows), p.pixels,
                       rows);
  }
}

template <const VectorKernels& kKernels>
constexpr PatchKernels kGeneric = {
    .for_many = false, .to_lanes = to_lanes<kKernels>, .to_pixels = to_pixels<kKernels>};

}  // namespace

const PatchKernels& patch_kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512Vnni) return kAvx512VnniPatchKernels;
  if (isa >= Isa::kAvx2) return kGeneric<kAvx2VectorKernels>;
#endif
  return kGeneric<kScalarVectorKernels>;
}

}  // namespace furiosa::kernels
