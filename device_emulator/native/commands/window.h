#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_COMMANDS_WINDOW_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_COMMANDS_WINDOW_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "device_emulator/native/command.h"

// What pooling commands share.
namespace furiosa::commands {

// Where the windows of a pool lie along one dim of the image.
struct WindowAxis {
  static constexpr int64_t kMost = 1 << 20;  // for every attribute, far from overflow

  int64_t size, kernel, stride, dilation, pad;

  // The windows from first_whole() to before end_whole() lie inside the image as a whole.
  int64_t first_whole() const { return (pad + stride - 1) / stride; }
  int64_t end_whole() const {
    const int64_t room = size + pad - (kernel - 1) * dilation;
    return room > 0 ? (room + stride - 1) / stride : 0;
  }

  // The axis with attributes such as kernel_h, for `suffix` h, and the padding `pad`.
  static WindowAxis read(const CommandReader& reader, const std::string& suffix, const char* pad,
                         int64_t size) {
    return {.size = size,
            .kernel = reader.integer("kernel_" + suffix, 1, kMost),
            .stride = reader.integer("stride_" + suffix, 1, kMost),
            .dilation = reader.integer("dilation_" + suffix, 1, kMost),
            .pad = reader.integer(pad, 0, kMost)};
  }
};

// The taps of the window of output `o` that lie inside the image: the first, and how many.
struct WindowTaps {
  WindowTaps(const WindowAxis& axis, int64_t o) {
    const int64_t start = o * axis.stride - axis.pad;
    const int64_t skipped = start < 0 ? (-start + axis.dilation - 1) / axis.dilation : 0;
    first = start + skipped * axis.dilation;
    const int64_t fitting = first < axis.size ? (axis.size - 1 - first) / axis.dilation + 1 : 0;
    count = std::max<int64_t>(0, std::min(axis.kernel - skipped, fitting));
  }
  int64_t first;
  int64_t count;
};

}  // namespace furiosa::commands

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_COMMANDS_WINDOW_H_
