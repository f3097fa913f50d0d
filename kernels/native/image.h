#ifndef FURIOSA_KERNELS_NATIVE_IMAGE_H_
#define FURIOSA_KERNELS_NATIVE_IMAGE_H_

#include <cstddef>
#include <cstdint>

namespace furiosa::kernels {

// A batch of images with channels last. Strides are in elements, that of the channels is 1.
struct ImageView {
  int64_t batch = 1, height = 1, width = 1, channels = 1;
  int64_t batch_stride = 0, row_stride = 0, pixel_stride = 0;

  int64_t pixels() const { return batch * height * width; }
  // Whether consecutive pixels are always pixel_stride apart.
  bool flat() const;
};

// What a convolution or pooling window is and how it moves.
struct Window {
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0;

  int64_t taps() const { return kernel_h * kernel_w; }
  // Whether output pixel (y, x) reads input pixel (y, x) and no other.
  bool identity() const;
};

// The index of an output pixel taken apart.
struct PixelPosition {
  int64_t image, row, column;
  PixelPosition(const ImageView& view, int64_t pixel)
      : image(pixel / (view.height * view.width)),
        row(pixel / view.width % view.height),
        column(pixel % view.width) {}
};

// Writes the address of pixels [first, first + count) of a view whose first element is at `base`.
void point_pixels(const ImageView& view, const void* base, size_t element_size, int64_t first,
                  size_t count, const void** addresses);

// For each tap t of the window and each output pixel first + i, i < count, writes to
// rows[t * pitch + i] the address of the input pixel that is read, or `outside` where that is
// outside the image.
void point_taps(const ImageView& x, const ImageView& y, const Window& window, const uint8_t* base,
                const uint8_t* outside, int64_t first, size_t count, const uint8_t** rows,
                size_t pitch);

// A rectangle of pixels; it may reach beyond the image.
struct Rectangle {
  int64_t top, left, height, width;
};

// The input pixels that the window reads for the output pixels of a rectangle.
Rectangle input_of(const Window& window, const Rectangle& output);

// Copies a rectangle of one image of x densely; pixels outside the image are all `fill`.
void copy_rectangle(const ImageView& x, const uint8_t* image, uint8_t fill,
                    const Rectangle& rectangle, uint8_t* to);

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_IMAGE_H_
