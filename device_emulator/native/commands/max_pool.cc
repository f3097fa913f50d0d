// MAX_POOL: the largest byte of each window.

#include <cstring>

#include "device_emulator/native/commands/rows.h"
#include "device_emulator/native/commands/window.h"

namespace furiosa {
namespace {

using commands::WindowAxis;
using commands::WindowTaps;

constexpr size_t kTaps = 64;            // at once in a kernel call
constexpr int64_t kGrain = 512 * 1024;  // byte comparisons for some 10 us

class MaxPool final : public Command {
 public:
  explicit MaxPool(const CommandReader& reader)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x", 4)),
        y_(reader.tensor("y", 4)),
        rows_(WindowAxis::read(reader, "h", "pad_top", x_.dim[1])),
        columns_(WindowAxis::read(reader, "w", "pad_left", x_.dim[2])),
        table_(reader.table()),
        kernels_(kernels::vector_kernels(active_isa())) {
    reader.require(x_.dim[0] == y_.dim[0] && x_.dim[3] == y_.dim[3],
                   "x and y differ in batch or channels");
    reader.require(y_.dim[1] <= WindowAxis::kMost && y_.dim[2] <= WindowAxis::kMost,
                   "y is too large");
    // Channels go through the kernel together where they are contiguous, otherwise one by one.
    const bool contiguous =
        commands::effective_stride(x_, 3) == 1 && commands::effective_stride(y_, 3) == 1;
    group_ = contiguous ? y_.dim[3] : 1;
  }

  void run(const RunContext& context) const override {
    if (y_.elements() == 0) return;
    const uint8_t* x = context.data<uint8_t>(x_index_);
    uint8_t* y = context.data<uint8_t>(y_index_);
    const int64_t row_cost = y_.dim[2] * y_.dim[3] * std::min<int64_t>(kGrain, taps());
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
  int64_t taps() const { return rows_.kernel * columns_.kernel; }

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
        kernels_, table_,
        {y, y_.stride[2], commands::effective_stride(y_, 3), y_.dim[2], y_.dim[3]});
  }

  void run_window(const uint8_t* x, uint8_t* y, const WindowTaps& down,
                  const WindowTaps& across) const {
    const uint8_t* taps[kTaps];
    size_t count = 0;
    const auto reduce = [&] {
      kernels_.max(taps, count, y, static_cast<size_t>(group_));
      taps[0] = y;  // what is left is compared with it
      count = 1;
    };
    for (int64_t i = 0; i < down.count; ++i) {
      const uint8_t* row = x + (down.first + i * rows_.dilation) * x_.stride[1];
      for (int64_t k = 0; k < across.count; ++k) {
        if (count == kTaps) reduce();
        taps[count++] = row + (across.first + k * columns_.dilation) * x_.stride[2];
      }
    }
    if (count > 0) {
      reduce();
    } else {
      std::memset(y, 0, static_cast<size_t>(group_));  // no tap inside: the lowest value
    }
  }

  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  WindowAxis rows_, columns_;
  CommandReader::Table table_;
  const kernels::VectorKernels& kernels_;
  int64_t group_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::MAX_POOL>(const Program& program,
                                                   const CommandRecord& record) {
  return std::make_unique<MaxPool>(CommandReader(program, record));
}

}  // namespace furiosa
