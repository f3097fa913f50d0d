// AVERAGE_POOL: the mean over each window, as QLinearAveragePool rounds it.

#include <vector>

#include "device_emulator/native/commands/rows.h"
#include "device_emulator/native/commands/window.h"
#include "kernels/native/aligned.h"
#include "kernels/native/float_kernels.h"

namespace furiosa {
namespace {

using commands::WindowAxis;
using commands::WindowTaps;

constexpr int64_t kGrain = 64 * 1024;  // additions for some 10 us

class AveragePool final : public Command {
 public:
  explicit AveragePool(const CommandReader& reader)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x", 4)),
        y_(reader.tensor("y", 4)),
        rows_(WindowAxis::read(reader, "h", "pad_top", x_.dim[1])),
        columns_(WindowAxis::read(reader, "w", "pad_left", x_.dim[2])),
        include_pad_(reader.flag("count_include_pad")),
        table_(reader.table()),
        vector_kernels_(kernels::vector_kernels(active_isa())),
        kernels_(kernels::float_kernels(active_isa())) {
    reader.require(x_.dim[0] == y_.dim[0] && x_.dim[3] == y_.dim[3],
                   "x and y differ in batch or channels");
    reader.require(y_.dim[1] <= WindowAxis::kMost && y_.dim[2] <= WindowAxis::kMost,
                   "y is too large");
    const int32_t bias = reader.flag("signed") ? 128 : 0;
    parameters_ = {.x_scale = reader.real("x_scale"),
                   .x_zero_point = reader.zero_point("x_zero_point"),
                   .count = 0,
                   .y_scale = reader.real("y_scale"),
                   .y_zero_point = static_cast<float>(reader.zero_point("y_zero_point") - bias),
                   .bias = bias};
    // Channels go through the kernel together where they are contiguous, otherwise one by one.
    const bool contiguous =
        commands::effective_stride(x_, 3) == 1 && commands::effective_stride(y_, 3) == 1;
    group_ = contiguous ? y_.dim[3] : 1;
    taps_ = std::min(rows_.kernel, x_.dim[1]) * std::min(columns_.kernel, x_.dim[2]);
  }

  void run(const RunContext& context) const override {
    if (y_.elements() == 0) return;
    const uint8_t* x = context.data<uint8_t>(x_index_);
    uint8_t* y = context.data<uint8_t>(y_index_);
    const int64_t row_cost = y_.dim[2] * y_.dim[3] * std::clamp<int64_t>(taps_, 1, kGrain);
    const auto grain = static_cast<size_t>(std::max<int64_t>(1, kGrain / row_cost));
    const auto rows = static_cast<size_t>(y_.dim[0] * y_.dim[1]);
    parallel_ranges(context.pool(), rows, grain, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const int64_t n = static_cast<int64_t>(i) / y_.dim[1];
        run_row(x + n * x_.stride[0], y + n * y_.stride[0], static_cast<int64_t>(i) % y_.dim[1]);
      }
    });
  }

 private:
  // One row of the result; `x` and `y` are those of its image.
  void run_row(const uint8_t* x, uint8_t* y, int64_t oh) const {
    const WindowTaps down(rows_, oh);
    y += oh * y_.stride[1];
    for (int64_t ow = 0; ow < y_.dim[2]; ++ow) {
      const WindowTaps across(columns_, ow);
      for (int64_t c = 0; c < y_.dim[3]; c += group_) {
        run_window(x + c * x_.stride[3], y + ow * y_.stride[2] + c * y_.stride[3], down, across);
      }
    }
    commands::apply_table(
        vector_kernels_, table_,
        {y, y_.stride[2], commands::effective_stride(y_, 3), y_.dim[2], y_.dim[3]});
  }

  void run_window(const uint8_t* x, uint8_t* y, const WindowTaps& down,
                  const WindowTaps& across) const {
    auto** taps = reinterpret_cast<const uint8_t**>(
        kernels::thread_scratch(static_cast<size_t>(taps_) * sizeof(const uint8_t*)));
    size_t count = 0;
    for (int64_t i = 0; i < down.count; ++i) {
      const uint8_t* row = x + (down.first + i * rows_.dilation) * x_.stride[1];
      for (int64_t k = 0; k < across.count; ++k) {
        taps[count++] = row + (across.first + k * columns_.dilation) * x_.stride[2];
      }
    }
    kernels::AverageParameters parameters = parameters_;
    parameters.count = include_pad_ ? static_cast<float>(rows_.kernel * columns_.kernel)
                                    : static_cast<float>(count);
    kernels_.average(taps, count, y, static_cast<size_t>(group_), parameters);
  }

  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  WindowAxis rows_, columns_;
  bool include_pad_;
  CommandReader::Table table_;
  const kernels::VectorKernels& vector_kernels_;
  const kernels::FloatKernels& kernels_;
  kernels::AverageParameters parameters_{};
  int64_t group_ = 1;
  int64_t taps_ = 1;  // the most that lie inside the image
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::AVERAGE_POOL>(const Program& program,
                                                       const CommandRecord& record) {
  return std::make_unique<AveragePool>(CommandReader(program, record));
}

}  // namespace furiosa
