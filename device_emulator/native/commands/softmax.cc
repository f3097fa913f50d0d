// SOFTMAX: exponentials from a table, divided by their sum.

#include <array>
#include <bit>
#include <cmath>

#include "device_emulator/native/commands/rows.h"
#include "kernels/native/aligned.h"
#include "kernels/native/float_kernels.h"

namespace furiosa {
namespace {

constexpr int64_t kGrain = 8 * 1024;  // elements for some 10 us
constexpr int64_t kMostLength = 1 << 24;
constexpr auto kRows = static_cast<int64_t>(kernels::kSoftmaxRows);

class Softmax final : public Command {
 public:
  explicit Softmax(const CommandReader& reader)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x")),
        y_(reader.tensor("y")),
        table_(reader.table()),
        vector_kernels_(kernels::vector_kernels(active_isa())),
        kernels_(kernels::float_kernels(active_isa())) {
    reader.require(x_.rank >= 1, "x is a scalar");
    reader.require_dims("x", y_.dims());
    last_ = x_.rank - 1;
    reader.require(x_.dim[last_] <= kMostLength, "the last dim is too large");
    const std::span exponentials = reader.constant<float>("exp_table", 256);
    for (size_t i = 0; i < exponentials.size(); ++i) {
      reader.require(std::isfinite(exponentials[i]) && exponentials[i] >= 0 &&
                         (i == 0 || exponentials[i] >= exponentials[i - 1]),
                     "exp_table is expected to be finite, not negative and to rise");
    }
    reader.require(exponentials[255] > 0, "exp_table ends with 0");
    for (size_t i = 0; i < exponentials.size(); ++i) {
      for (size_t k = 0; k < 4; ++k) {
        planes_[256 * k + i] =
            static_cast<uint8_t>(std::bit_cast<uint32_t>(exponentials[i]) >> 8 * k);
      }
    }
    const float y_scale = reader.real("y_scale");
    const int64_t precision = reader.integer("precision");
    reader.require(precision == 32 || precision == 64, "precision is expected to be 32 or 64");
    const bool wide = precision == 64;
    parameters_ = {.exponentials = exponentials.data(),
                   .planes = planes_.data(),
                   .factor = wide ? std::floor(1 / static_cast<double>(y_scale))
                                  : static_cast<double>(std::floor(1 / y_scale)),
                   .wide = wide,
                   .zero_point = reader.zero_point("y_zero_point")};
    reader.require(parameters_.factor >= 0, "y_scale is expected to be positive");
    for (size_t dim = 0; dim < last_; ++dim) {
      if (x_.dim[dim] > x_.dim[lanes_]) lanes_ = dim;
    }
    lane_count_ = last_ == 0 ? 1 : x_.dim[lanes_];
  }

  void run(const RunContext& context) const override {
    if (y_.elements() == 0) return;
    const uint8_t* x = context.data<uint8_t>(x_index_);
    uint8_t* y = context.data<uint8_t>(y_index_);
    const int64_t blocks = (lane_count_ + kRows - 1) / kRows;
    const int64_t outer = y_.elements() / x_.dim[last_] / lane_count_;
    const auto grain = static_cast<size_t>(std::max<int64_t>(1, kGrain / (kRows * x_.dim[last_])));
    parallel_ranges(context.pool(), static_cast<size_t>(outer * blocks), grain,
                    [&](size_t begin, size_t end) {
                      for (size_t i = begin; i < end; ++i) {
                        run_block(x, y, static_cast<int64_t>(i) % outer,
                                  static_cast<int64_t>(i) / outer * kRows);
                      }
                    });
  }

 private:
  // Up to kRows rows side by side along the lane dim, from `first` on.
  void run_block(const uint8_t* x, uint8_t* y, int64_t outer, int64_t first) const {
    for (size_t dim = last_; dim-- > 0;) {
      const int64_t index = dim == lanes_ ? first : outer % x_.dim[dim];
      if (dim != lanes_) outer /= x_.dim[dim];
      x += index * x_.stride[dim];
      y += index * y_.stride[dim];
    }
    const size_t rows = static_cast<size_t>(std::min(kRows, lane_count_ - first));
    const int64_t x_step = last_ == 0 ? 0 : x_.stride[lanes_];
    const int64_t y_step = last_ == 0 ? 0 : y_.stride[lanes_];
    const auto length = static_cast<size_t>(x_.dim[last_]);
    uint8_t* scratch = kernels::thread_scratch(kRows * length * (2 + sizeof(float)));
    auto* floats = reinterpret_cast<float*>(scratch);
    uint8_t* in = scratch + kRows * length * sizeof(float);
    uint8_t* out = in + kRows * length;
    if (rows == 1) {
      for (size_t i = 0; i < length; ++i) in[i] = x[static_cast<int64_t>(i) * x_.stride[last_]];
      kernels_.softmax_row(in, out, length, floats, parameters_);
      for (size_t i = 0; i < length; ++i) y[static_cast<int64_t>(i) * y_.stride[last_]] = out[i];
    } else {
      gather(x, x_step, rows, in);
      kernels_.softmax(in, out, length, rows, floats, parameters_);
      scatter(out, rows, y, y_step);
    }
    commands::apply_table(vector_kernels_, table_,
                          {y, y_step, commands::effective_stride(y_, last_),
                           static_cast<int64_t>(rows), y_.dim[last_]});
  }

  // Element i of row r, at x + r * step, goes to in[i * kRows + r]; rows that are missing are 0.
  void gather(const uint8_t* x, int64_t step, size_t rows, uint8_t* in) const {
    const auto length = static_cast<size_t>(x_.dim[last_]);
    if (commands::effective_stride(x_, last_) == 1) {
      vector_kernels_.transpose(x, step, in, kRows, length, rows);
    } else {
      for (size_t i = 0; i < length; ++i) {
        const uint8_t* from = x + static_cast<int64_t>(i) * x_.stride[last_];
        for (size_t r = 0; r < rows; ++r) in[i * kRows + r] = from[static_cast<int64_t>(r) * step];
      }
    }
    for (size_t i = 0; i < length && rows < kRows; ++i) {
      std::fill_n(in + i * kRows + rows, kRows - rows, uint8_t{0});
    }
  }

  // The inverse of gather.
  void scatter(const uint8_t* out, size_t rows, uint8_t* y, int64_t step) const {
    const auto length = static_cast<size_t>(y_.dim[last_]);
    if (commands::effective_stride(y_, last_) == 1) {
      vector_kernels_.transpose(out, kRows, y, step, rows, length);
      return;
    }
    for (size_t i = 0; i < length; ++i) {
      uint8_t* to = y + static_cast<int64_t>(i) * y_.stride[last_];
      for (size_t r = 0; r < rows; ++r) to[static_cast<int64_t>(r) * step] = out[i * kRows + r];
    }
  }

  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  std::array<uint8_t, 1024> planes_;
  kernels::SoftmaxParameters parameters_{};
  CommandReader::Table table_;
  const kernels::VectorKernels& vector_kernels_;
  const kernels::FloatKernels& kernels_;
  size_t last_ = 0;
  size_t lanes_ = 0;  // the largest of the other dims
  int64_t lane_count_ = 1;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::SOFTMAX>(const Program& program,
                                                  const CommandRecord& record) {
  return std::make_unique<Softmax>(CommandReader(program, record));
}

}  // namespace furiosa
