#include "kernels/native/conv_transpose.h"

#include <algorithm>

namespace furiosa::kernels {
namespace {

size_t round_up(size_t value) {
  return (value + kProductColumns - 1) / kProductColumns * kProductColumns;
}

}  // namespace

ConvTranspose::ConvTranspose(const ConvTransposeProblem& problem)
    : problem_(problem),
      pixels_(static_cast<size_t>(problem.x.width)),
      depth_(static_cast<size_t>(problem.x.channels / problem.group)),
      width_(static_cast<size_t>(problem.y.channels / problem.group)),
      used_(static_cast<size_t>(problem.window.kernel_w) * width_),
      by_pixels_(2 * used_ <= kProductColumns),
      columns_(round_up(by_pixels_ ? pixels_ : used_)),
      kernels_(float_kernels(active_isa())),
      vector_kernels_(vector_kernels(active_isa())) {
  const auto group = static_cast<size_t>(problem.group);
  const auto kernel_h = static_cast<size_t>(problem.window.kernel_h);
  const size_t line = by_pixels_ ? used_ : columns_;
  packed_ = AlignedBuffer<float>(group * kernel_h * depth_ * line);
  const float* from = problem.weights.data();
  for (size_t channel = 0; channel < group * depth_; ++channel) {
    const size_t k = channel % depth_;
    for (size_t ky = 0; ky < kernel_h; ++ky, from += used_) {
      float* to = packed_.data() + (channel / depth_ * kernel_h + ky) * depth_ * line;
      for (size_t j = 0; j < used_; ++j) to[by_pixels_ ? j * depth_ + k : k * line + j] = from[j];
    }
  }
  // A row of the result, the products, the values of a row of x as floats and as bytes.
  const size_t results = round_up(static_cast<size_t>(problem.y.width * problem.y.channels));
  const size_t products = (by_pixels_ ? used_ : pixels_) * columns_;
  const size_t values = round_up(pixels_) * depth_;
  scratch_size_ = (results + products + values) * sizeof(float) + values;
}

int64_t ConvTranspose::row_cost() const {
  const Window& window = problem_.window;
  const int64_t tap_rows = (window.kernel_h + window.stride_h - 1) / window.stride_h;
  return problem_.x.width * problem_.x.channels * static_cast<int64_t>(used_) * tap_rows;
}

const float* ConvTranspose::row(const uint8_t* image, int64_t row, std::byte* scratch) const {
  const ImageView &x = problem_.x, &y = problem_.y;
  const Window& window = problem_.window;
  auto* result = reinterpret_cast<float*>(scratch);
  const auto count = static_cast<size_t>(y.width * y.channels);
  float* rest = result + round_up(count);
  std::fill_n(result, count, 0.0f);
  for (int64_t ky = 0; ky < window.kernel_h; ++ky) {
    const int64_t at = row + window.pad_top - ky * window.dilation_h;
    if (at < 0 || at % window.stride_h != 0 || at / window.stride_h >= x.height) continue;
    const uint8_t* line = image + at / window.stride_h * x.row_stride;
    for (int64_t group = 0; group < problem_.group; ++group) {
      const auto tap_row = static_cast<size_t>(group * window.kernel_h + ky);
      float* part = result + static_cast<size_t>(group) * width_;
      if (by_pixels_) {
        add_by_pixels(line, tap_row, part, rest);
      } else {
        add_by_channels(line, tap_row, part, rest);
      }
      line += depth_;
    }
  }
  for (size_t i = 0; i < count && !problem_.bias.empty(); i += problem_.bias.size()) {
    for (size_t c = 0; c < problem_.bias.size(); ++c) result[i + c] += problem_.bias[c];
  }
  return result;
}

// Adds what a row of the kernel makes of a group of channels of a row of x.
void ConvTranspose::add_by_channels(const uint8_t* line, size_t tap_row, float* result,
                                    float* scratch) const {
  float* products = scratch;
  float* values = products + pixels_ * columns_;
  const int64_t step = problem_.x.pixel_stride;
  const bool dense = step == static_cast<int64_t>(depth_);
  const size_t runs = dense ? 1 : pixels_, length = dense ? pixels_ * depth_ : depth_;
  for (size_t i = 0; i < runs; ++i, line += step) {
    vector_kernels_.dequantize(line, values + i * length, length, problem_.x_scale,
                               problem_.x_zero_point);
  }
  kernels_.product({.x = values,
                    .x_stride = depth_,
                    .rows = pixels_,
                    .w = packed_.data() + tap_row * depth_ * columns_,
                    .depth = depth_,
                    .block = static_cast<size_t>(problem_.block),
                    .columns = columns_,
                    .y = products,
                    .y_stride = columns_});
  add_products(products, columns_, 1, result);
}

void ConvTranspose::add_by_pixels(const uint8_t* line, size_t tap_row, float* result,
                                  float* scratch) const {
  float* products = scratch;
  float* values = products + used_ * columns_;
  const size_t count = depth_ * columns_;
  auto* bytes = reinterpret_cast<uint8_t*>(values + count);
  vector_kernels_.transpose(line, problem_.x.pixel_stride, bytes, static_cast<ptrdiff_t>(columns_),
                            depth_, pixels_);
  for (size_t k = 0; k < depth_; ++k) {
    std::fill(bytes + k * columns_ + pixels_, bytes + (k + 1) * columns_, uint8_t{0});
  }
  vector_kernels_.dequantize(bytes, values, count, problem_.x_scale, problem_.x_zero_point);
  kernels_.product({.x = packed_.data() + tap_row * used_ * depth_,
                    .x_stride = depth_,
                    .rows = used_,
                    .w = values,
                    .depth = depth_,
                    .block = static_cast<size_t>(problem_.block),
                    .columns = columns_,
                    .y = products,
                    .y_stride = columns_});
  add_products(products, 1, columns_, result);
}

// Adds result j of pixel i, at products[i * pixel_step + j * channel_step], where it belongs.
void ConvTranspose::add_products(const float* products, size_t pixel_step, size_t channel_step,
                                 float* result) const {
  const ImageView& y = problem_.y;
  const Window& window = problem_.window;
  for (int64_t kx = 0; kx < window.kernel_w; ++kx, products += width_ * channel_step) {
    // Pixels [first, last) of x meet the row of the result.
    const int64_t left = kx * window.dilation_w - window.pad_left;
    const int64_t first = left < 0 ? (-left + window.stride_w - 1) / window.stride_w : 0;
    const int64_t room = y.width - left;
    const int64_t fitting = room > 0 ? (room + window.stride_w - 1) / window.stride_w : 0;
    const int64_t last = std::min(problem_.x.width, fitting);
    for (int64_t i = first; i < last; ++i) {
      const float* product = products + static_cast<size_t>(i) * pixel_step;
      float* to = result + (i * window.stride_w + left) * y.channels;
      if (channel_step == 1) {
        for (size_t j = 0; j < width_; ++j) to[j] += product[j];
      } else {
        for (size_t j = 0; j < width_; ++j) to[j] += product[j * channel_step];
      }
    }
  }
}

}  // namespace furiosa::kernels
