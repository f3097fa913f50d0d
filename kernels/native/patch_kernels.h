#ifndef FURIOSA_KERNELS_NATIVE_PATCH_KERNELS_H_
#define FURIOSA_KERNELS_NATIVE_PATCH_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/native/isa.h"

namespace furiosa::kernels {

// Pixels are worked on side by side, this many at a time.
inline constexpr size_t kLanePixels = 64;

// Pixels of contiguous channels, dequantised: value c of pixel i goes to y[c * kLanePixels + i].
struct PixelsToLanes {
  const uint8_t* x;
  ptrdiff_t pixel_stride;
  size_t pixels;  // 1 to kLanePixels
  size_t channels;
  float scale;
  int32_t zero_point;
  float* y;  // contents beyond `pixels` are unspecified
};

// The other way, with a bias: y[i * rows + r] = table[quantize(x[r * kLanePixels + i] + bias)],
// where row r has bias and table number r % channels.
struct LanesToPixels {
  const float* x;  // kLanePixels floats can be read of each row
  size_t rows, pixels;
  size_t channels;
  const float* bias;      // or nullptr
  const uint8_t* tables;  // or nullptr
  size_t table_stride;    // 256, or 0 for one table
  float scale;            // in the range of quantizable()
  int32_t zero_point;
  uint8_t* y;
};

// Whether bytes of this scale are quantised by LanesToPixels.
constexpr bool quantizable(float scale) { return scale >= 0x1p-100f && scale <= 0x1p100f; }

struct PatchKernels {
  bool for_many;  // whether they pay for more than a few results of a pixel in a row, too
  void (*to_lanes)(const PixelsToLanes& pixels);
  void (*to_pixels)(const LanesToPixels& lanes);
};

// The kernels for the best instruction set up to `isa`.
const PatchKernels& patch_kernels(Isa isa);

#if defined(__x86_64__)
extern const PatchKernels kAvx512VnniPatchKernels;
#endif

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_PATCH_KERNELS_H_
