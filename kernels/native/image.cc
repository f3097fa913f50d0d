#include "kernels/native/image.h"

#include <algorithm>
#include <cstring>

namespace furiosa::kernels {

bool ImageView::flat() const {
  return (height == 1 || row_stride == width * pixel_stride) &&
         (batch == 1 || batch_stride == height * width * pixel_stride);
}

bool Window::identity() const {
  return kernel_h == 1 && kernel_w == 1 && stride_h == 1 && stride_w == 1 && pad_top == 0 &&
         pad_left == 0;
}

void point_pixels(const ImageView& view, const void* base, size_t element_size, int64_t first,
                  size_t count, const void** addresses) {
  const int64_t scale = static_cast<int64_t>(element_size);
  const int64_t step = view.pixel_stride * scale;
  // Pixels one behind the other: additions only, so that the loop is a vector's.
  const auto point = [&](const uint8_t* from, size_t pixels) {
    for (size_t i = 0; i < pixels; ++i, from += step) addresses[i] = from;
    addresses += pixels;
  };
  const auto* bytes = static_cast<const uint8_t*>(base);
  if (view.flat()) return point(bytes + first * step, count);
  for (PixelPosition at(view, first); count > 0; at.column = 0) {
    const size_t run = std::min(count, static_cast<size_t>(view.width - at.column));
    point(bytes + (at.image * view.batch_stride + at.row * view.row_stride) * scale +
              at.column * step,
          run);
    count -= run;
    if (++at.row < view.height) continue;
    at.row = 0;
    ++at.image;
  }
}

namespace {

// The range of i in [0, count) for which first + i * step is in [0, size).
struct Range {
  int64_t begin, end;
  Range(int64_t first, int64_t step, int64_t size, int64_t count) {
    const int64_t before = std::max<int64_t>(0, -first), room = std::max<int64_t>(0, size - first);
    begin = std::min(count, step == 1 ? before : (before + step - 1) / step);
    end = std::max(begin, std::min(count, step == 1 ? room : (room + step - 1) / step));
  }
};

}  // namespace

void point_taps(const ImageView& x, const ImageView& y, const Window& window, const uint8_t* base,
                const uint8_t* outside, int64_t first, size_t count, const uint8_t** rows,
                size_t pitch) {
  const int64_t all = static_cast<int64_t>(count);
  const int64_t step = window.stride_w * x.pixel_stride;
  PixelPosition at(y, first);
  for (int64_t done = 0; done < all;) {  // a run of pixels in one output row at a time
    const int64_t run = std::min(all - done, y.width - at.column);
    const int64_t top = at.row * window.stride_h - window.pad_top;
    const int64_t left = at.column * window.stride_w - window.pad_left;
    for (int64_t kx = 0; kx < window.kernel_w; ++kx) {
      const int64_t column = left + kx * window.dilation_w;
      const Range inside(column, window.stride_w, x.width, run);
      for (int64_t ky = 0; ky < window.kernel_h; ++ky) {
        const uint8_t** to = rows + static_cast<size_t>(ky * window.kernel_w + kx) * pitch + done;
        const int64_t row = top + ky * window.dilation_h;
        if (row < 0 || row >= x.height) {
          std::fill_n(to, run, outside);
          continue;
        }
        const uint8_t* from =
            base + at.image * x.batch_stride + row * x.row_stride + column * x.pixel_stride;
        std::fill_n(to, inside.begin, outside);
        for (int64_t i = inside.begin; i < inside.end; ++i) to[i] = from + i * step;
        std::fill(to + inside.end, to + run, outside);
      }
    }
    done += run;
    at = PixelPosition(y, first + done);
  }
}

namespace {

// Copies the pixels [first, last) of a line to consecutive places.
void copy_pixels(const uint8_t* line, const ImageView& x, int64_t first, int64_t last,
                 uint8_t* to) {
  const size_t channels = static_cast<size_t>(x.channels);
  if (x.pixel_stride == x.channels) {
    std::memcpy(to, line + first * x.pixel_stride, static_cast<size_t>(last - first) * channels);
    return;
  }
  for (int64_t column = first; column < last; ++column, to += channels) {
    std::memcpy(to, line + column * x.pixel_stride, channels);
  }
}

}  // namespace

Rectangle input_of(const Window& window, const Rectangle& output) {
  return {output.top * window.stride_h - window.pad_top,
          output.left * window.stride_w - window.pad_left,
          (output.height - 1) * window.stride_h + (window.kernel_h - 1) * window.dilation_h + 1,
          (output.width - 1) * window.stride_w + (window.kernel_w - 1) * window.dilation_w + 1};
}

void copy_rectangle(const ImageView& x, const uint8_t* image, uint8_t fill,
                    const Rectangle& rectangle, uint8_t* to) {
  const int64_t width = rectangle.width;
  const int64_t first = std::clamp<int64_t>(-rectangle.left, 0, width);
  const int64_t last = std::clamp<int64_t>(x.width - rectangle.left, first, width);
  for (int64_t i = 0; i < rectangle.height; ++i, to += width * x.channels) {
    const int64_t row = rectangle.top + i;
    if (row < 0 || row >= x.height) {
      std::memset(to, fill, static_cast<size_t>(width * x.channels));
      continue;
    }
    std::memset(to, fill, static_cast<size_t>(first * x.channels));
    copy_pixels(image + row * x.row_stride, x, rectangle.left + first, rectangle.left + last,
                to + first * x.channels);
    std::memset(to + last * x.channels, fill, static_cast<size_t>((width - last) * x.channels));
  }
}

}  // namespace furiosa::kernels
