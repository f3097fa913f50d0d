#include "kernels/native/conv_transpose.h"

#include <algorithm>

namespace furiosa::kernels {
namespace {

constexpr size_t kAlignedFloats = 16;

size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

ConvTranspose::ConvTranspose(const ConvTransposeProblem& problem)
    : problem_(problem),
      depth_(static_cast<size_t>(problem.x.channels / problem.group)),
      width_(static_cast<size_t>(problem.y.channels / problem.group)),
      kernels_(float_kernels(active_isa())) {
  const auto group = static_cast<size_t>(problem.group);
  const auto kernel_h = static_cast<size_t>(problem.window.kernel_h);
  const size_t used = static_cast<size_t>(problem.window.kernel_w) * width_;
  columns_ = round_up(used, kProductColumns);
  packed_ = AlignedBuffer<float>(group * kernel_h * depth_ * columns_);
  const float* from = problem.weights.data();
  for (size_t channel = 0; channel < group * depth_; ++channel) {
    for (size_t ky = 0; ky < kernel_h; ++ky, from += used) {
      const size_t row = (channel / depth_ * kernel_h + ky) * depth_ + channel % depth_;
      std::copy_n(from, used, packed_.data() + row * columns_);
    }
  }
}

size_t ConvTranspose::scratch_size() const {
  const auto pixels = static_cast<size_t>(problem_.x.width);
  const size_t results = static_cast<size_t>(problem_.y.width * problem_.y.channels);
  return (round_up(results, kAlignedFloats) + pixels * (columns_ + depth_)) * sizeof(float);
}

int64_t ConvTranspose::row_cost() const {
  const Window& window = problem_.window;
  const int64_t taps = (window.kernel_h + window.stride_h - 1) / window.stride_h;
  return problem_.x.width * problem_.x.channels * static_cast<int64_t>(columns_) * taps;
}

float* ConvTranspose::row(const uint8_t* image, int64_t row, std::byte* scratch) const {
  const ImageView &x = problem_.x, &y = problem_.y;
  const Window& window = problem_.window;
  auto* result = reinterpret_cast<float*>(scratch);
  const auto count = static_cast<size_t>(y.width * y.channels);
  float* products = result + round_up(count, kAlignedFloats);
  float* values = products + static_cast<size_t>(x.width) * columns_;
  std::fill_n(result, count, 0.0f);
  for (int64_t ky = 0; ky < window.kernel_h; ++ky) {
    const int64_t at = row + window.pad_top - ky * window.dilation_h;
    if (at < 0 || at % window.stride_h != 0 || at / window.stride_h >= x.height) continue;
    add_tap_row(image + at / window.stride_h * x.row_stride, ky, values, products, result);
  }
  if (!problem_.bias.empty()) {
    float* to = result;
    for (int64_t pixel = 0; pixel < y.width; ++pixel) {
      for (const float bias : problem_.bias) *to++ += bias;
    }
  }
  return result;
}

// Adds what one row of the kernel makes of one row of x to a row of the result.
void ConvTranspose::add_tap_row(const uint8_t* line, int64_t ky, float* values, float* products,
                                float* result) const {
  const ImageView &x = problem_.x, &y = problem_.y;
  const Window& window = problem_.window;
  for (int64_t group = 0; group < problem_.group; ++group) {
    const uint8_t* pixel = line + static_cast<size_t>(group) * depth_;
    for (int64_t i = 0; i < x.width; ++i, pixel += x.pixel_stride) {
      float* to = values + static_cast<size_t>(i) * depth_;
      for (size_t k = 0; k < depth_; ++k) to[k] = problem_.values[pixel[k]];
    }
    const auto tap_row = static_cast<size_t>(group * window.kernel_h + ky);
    kernels_.product({.x = values,
                      .x_stride = depth_,
                      .rows = static_cast<size_t>(x.width),
                      .w = packed_.data() + tap_row * depth_ * columns_,
                      .depth = depth_,
                      .block = static_cast<size_t>(problem_.block),
                      .columns = columns_,
                      .y = products,
                      .y_stride = columns_});
    for (int64_t kx = 0; kx < window.kernel_w; ++kx) {
      const int64_t left = kx * window.dilation_w - window.pad_left;
      const float* product = products + static_cast<size_t>(kx) * width_;
      for (int64_t i = 0; i < x.width; ++i, product += columns_) {
        const int64_t column = i * window.stride_w + left;
        if (column < 0 || column >= y.width) continue;
        float* to = result + column * y.channels + group * static_cast<int64_t>(width_);
        for (size_t k = 0; k < width_; ++k) to[k] += product[k];
      }
    }
  }
}

}  // namespace furiosa::kernels
