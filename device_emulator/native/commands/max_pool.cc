// MAX_POOL: the largest byte of each window.

#include <algorithm>

#include "device_emulator/native/commands/rows.h"
#include "device_emulator/native/commands/window.h"

namespace furiosa {
namespace {

using commands::WindowAxis;
using commands::WindowTaps;

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
    for (int64_t ow = 0; ow < y_.dim[2];) {
      // Windows that a side cuts off are taken one by one, the others together.
      const bool whole = ow >= columns_.first_whole() && ow < columns_.end_whole();
      const int64_t end = whole ? std::min(columns_.end_whole(), y_.dim[2]) : ow + 1;
      run_windows(x, y, down, ow, end);
      ow = end;
    }
    commands::apply_table(
        kernels_, table_,
        {y, y_.stride[2], commands::effective_stride(y_, 3), y_.dim[2], y_.dim[3]});
  }

  // The windows from `ow` to before `end`, which have equally many taps.
  void run_windows(const uint8_t* x, uint8_t* y, const WindowTaps& down, int64_t ow,
                   int64_t end) const {
    const WindowTaps across(columns_, ow);
    const bool any = down.count > 0 && across.count > 0;
    const kernels::Windows windows = {
        .rows = static_cast<size_t>(any ? down.count : 0),
        .columns = static_cast<size_t>(any ? across.count : 0),
        .row_stride = rows_.dilation * x_.stride[1],
        .column_stride = columns_.dilation * x_.stride[2],
        .count = static_cast<size_t>(end - ow),
        .x_step = columns_.stride * x_.stride[2],
        .y_step = y_.stride[2],
    };
    if (any) x += down.first * x_.stride[1] + across.first * x_.stride[2];
    y += ow * y_.stride[2];
    for (int64_t c = 0; c < y_.dim[3]; c += group_) {
      kernels_.max(x + c * x_.stride[3], windows, y + c * y_.stride[3],
                   static_cast<size_t>(group_));
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
