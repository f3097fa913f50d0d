#include "kernels/native/conv_transpose_patches.h"

#include <algorithm>

namespace furiosa::kernels {
namespace {

constexpr auto kPixels = static_cast<int64_t>(kLanePixels);

}  // namespace

bool ConvTransposePatches::fits(const ConvTransposeProblem& problem, const ByteResult& result) {
  const ImageView &x = problem.x, &y = problem.y;
  const Window& w = problem.window;
  const bool apart = w.stride_h == w.kernel_h && (w.kernel_h == 1 || w.dilation_h == 1) &&
                     w.stride_w == w.kernel_w && (w.kernel_w == 1 || w.dilation_w == 1);
  const bool whole = w.pad_top == 0 && w.pad_left == 0 && y.height == x.height * w.kernel_h &&
                     y.width == x.width * w.kernel_w;
  const bool few = 2 * w.kernel_w * y.channels <= static_cast<int64_t>(kProductColumns);
  return (few || patch_kernels(active_isa()).for_many) && apart && whole && problem.group == 1 &&
         x.flat() && (y.width == 1 || y.pixel_stride == y.channels) && quantizable(result.scale);
}

ConvTransposePatches::ConvTransposePatches(const ConvTransposeProblem& problem,
                                           const ByteResult& result)
    : problem_(problem),
      result_(result),
      depth_(static_cast<size_t>(problem.x.channels)),
      used_(static_cast<size_t>(problem.window.kernel_w * problem.y.channels)),
      rows_(static_cast<size_t>(problem.window.kernel_h) * used_),
      packed_(rows_ * depth_),
      kernels_(float_kernels(active_isa())),
      patch_kernels_(patch_kernels(active_isa())) {
  for (size_t k = 0; k < depth_; ++k) {
    for (size_t r = 0; r < rows_; ++r) packed_[r * depth_ + k] = problem.weights[k * rows_ + r];
  }
}

int64_t ConvTransposePatches::blocks() const {
  return (problem_.x.pixels() + kPixels - 1) / kPixels;
}

void ConvTransposePatches::run(const uint8_t* x, uint8_t* y, int64_t begin, int64_t end,
                               std::byte* scratch) const {
  const ImageView &from = problem_.x, &to = problem_.y;
  auto* values = reinterpret_cast<float*>(scratch);
  float* products = values + depth_ * kLanePixels;
  std::fill_n(values, depth_ * kLanePixels, 0.0f);
  for (int64_t first = begin * kPixels; first < end * kPixels; first += kPixels) {
    const int64_t last = std::min(first + kPixels, from.pixels());
    if (first >= last) return;
    patch_kernels_.to_lanes({.x = x + first * from.pixel_stride,
                             .pixel_stride = from.pixel_stride,
                             .pixels = static_cast<size_t>(last - first),
                             .channels = depth_,
                             .scale = problem_.x_scale,
                             .zero_point = problem_.x_zero_point,
                             .y = values});
    kernels_.product({.x = packed_.data(),
                      .x_stride = depth_,
                      .rows = rows_,
                      .w = values,
                      .depth = depth_,
                      .block = static_cast<size_t>(problem_.block),
                      .columns = kLanePixels,
                      .y = products,
                      .y_stride = kLanePixels});
    for (int64_t pixel = first; pixel < last;) {  // as far as a row of x goes
      const PixelPosition at(from, pixel);
      const int64_t count = std::min(last - pixel, from.width - at.column);
      const int64_t row = at.row * problem_.window.kernel_h;
      uint8_t* patch = y + at.image * to.batch_stride + row * to.row_stride +
                       at.column * static_cast<int64_t>(used_);
      for (int64_t ky = 0; ky < problem_.window.kernel_h; ++ky, patch += to.row_stride) {
        patch_kernels_.to_pixels(
            {.x = products + static_cast<size_t>(ky) * used_ * kLanePixels + (pixel - first),
             .rows = used_,
             .pixels = static_cast<size_t>(count),
             .channels = static_cast<size_t>(to.channels),
             .bias = problem_.bias.empty() ? nullptr : problem_.bias.data(),
             .tables = result_.tables,
             .table_stride = result_.table_stride,
             .scale = result_.scale,
             .zero_point = result_.zero_point,
             .y = patch});
      }
      pixel += count;
    }
  }
}

}  // namespace furiosa::kernels
