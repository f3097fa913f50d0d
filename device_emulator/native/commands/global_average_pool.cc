// GLOBAL_AVERAGE_POOL: the requantised sum of each channel of an image.

#include "device_emulator/native/commands/rows.h"

namespace furiosa {
namespace {

constexpr int64_t kMostPixels = INT32_MAX / 255;  // whose sum is sure to fit
constexpr int64_t kChannels = 256;                // of a task
constexpr int64_t kGrain = 128 * 1024;            // bytes for some 10 us

class GlobalAveragePool final : public Command {
 public:
  explicit GlobalAveragePool(const CommandReader& reader)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x", 4)),
        y_(reader.tensor("y", 4)),
        x_zero_point_(reader.zero_point("x_zero_point")),
        y_zero_point_(reader.zero_point("y_zero_point")),
        multiplier_(reader.real("multiplier")),
        table_(reader.table()),
        kernels_(kernels::vector_kernels(active_isa())) {
    const int64_t expected[] = {x_.dim[0], 1, 1, x_.dim[3]};
    reader.require_dims("y", expected);
    reader.require(x_.dim[1] * x_.dim[2] <= kMostPixels, "x has more than 8421504 pixels");
  }

  void run(const RunContext& context) const override {
    if (y_.elements() == 0) return;
    const uint8_t* x = context.data<uint8_t>(x_index_);
    uint8_t* y = context.data<uint8_t>(y_index_);
    const int64_t parts = (y_.dim[3] + kChannels - 1) / kChannels;
    const int64_t cost = x_.dim[1] * x_.dim[2] * std::min(kChannels, y_.dim[3]);
    const auto grain = static_cast<size_t>(kGrain / std::max<int64_t>(1, cost));
    parallel_ranges(context.pool(), static_cast<size_t>(y_.dim[0] * parts), grain,
                    [&](size_t begin, size_t end) {
                      for (size_t i = begin; i < end; ++i) {
                        const auto task = static_cast<int64_t>(i);
                        run_channels(x + task / parts * x_.stride[0],
                                     y + task / parts * y_.stride[0], task % parts * kChannels);
                      }
                    });
  }

 private:
  // The channels from `first` on of an image.
  void run_channels(const uint8_t* x, uint8_t* y, int64_t first) const {
    const int64_t count = std::min(kChannels, y_.dim[3] - first);
    int32_t sums[kChannels];
    const auto pixels = static_cast<int32_t>(x_.dim[1] * x_.dim[2]);
    std::fill_n(sums, count, -pixels * x_zero_point_);
    x += first * x_.stride[3];
    if (x_.stride[1] == x_.dim[2] * x_.stride[2]) {
      add_row(x, x_.dim[1] * x_.dim[2], sums, count);
    } else {
      for (int64_t h = 0; h < x_.dim[1]; ++h) {
        add_row(x + h * x_.stride[1], x_.dim[2], sums, count);
      }
    }

    uint8_t bytes[kChannels];
    kernels_.requantize(sums, bytes, static_cast<size_t>(count), multiplier_, y_zero_point_);
    if (table_) {
      const uint8_t* table = table_.data + (table_.per_channel ? 256 * first : 0);
      commands::lookup_row(kernels_, table, table_.per_channel ? 256 : 0, bytes, bytes, count);
    }
    for (int64_t c = 0; c < count; ++c) y[(first + c) * y_.stride[3]] = bytes[c];
  }

  // Adds `pixels` pixels to the sums.
  void add_row(const uint8_t* x, int64_t pixels, int32_t* sums, int64_t count) const {
    const int64_t step = commands::effective_stride(x_, 3);
    if (step == 1) {
      kernels_.accumulate(x, x_.stride[2], static_cast<size_t>(pixels), sums,
                          static_cast<size_t>(count));
      return;
    }
    for (int64_t i = 0; i < pixels; ++i, x += x_.stride[2]) {
      for (int64_t c = 0; c < count; ++c) sums[c] += x[c * step];
    }
  }

  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  int32_t x_zero_point_, y_zero_point_;
  float multiplier_;
  CommandReader::Table table_;
  const kernels::VectorKernels& kernels_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::GLOBAL_AVERAGE_POOL>(const Program& program,
                                                              const CommandRecord& record) {
  return std::make_unique<GlobalAveragePool>(CommandReader(program, record));
}

}  // namespace furiosa
