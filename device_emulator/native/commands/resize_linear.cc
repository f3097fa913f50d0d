// RESIZE_LINEAR: bilinear interpolation.

#include <cmath>

#include "device_emulator/native/commands/rows.h"
#include "kernels/native/float_kernels.h"

namespace furiosa {
namespace {

constexpr int64_t kGrain = 64 * 1024;  // elements for some 10 us

enum Kind : int64_t { kFloat = 0, kTruncated = 1, kFixed = 2 };

// Two positions with their weights for each index of one dim of the result.
struct Interpolation {
  Interpolation(const CommandReader& reader, std::string_view name, std::string_view weight_name,
                int64_t resized, int64_t original, Kind kind)
      : at(reader.constant<int32_t>(name, 2 * resized)),
        weights(reader.constant<float>(weight_name, 2 * resized)) {
    for (const int32_t one : at) {
      reader.require(one >= 0 && one < original, "rows or columns lie outside x");
    }
    const float most = kind == kFixed ? 1024.0f : 1.0f;
    for (const float weight : weights) {
      reader.require(weight >= 0 && weight <= most,
                     "weights are expected from 0 to 1 (kind 2: 1024)");
      reader.require(kind != kFixed || std::floor(weight) == weight,
                     "weights of kind 2 are expected to be integers");
    }
  }

  std::span<const int32_t> at;
  std::span<const float> weights;
};

class ResizeLinear final : public Command {
 public:
  explicit ResizeLinear(const CommandReader& reader)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x", 4)),
        y_(reader.tensor("y", 4)),
        kind_(static_cast<Kind>(reader.integer("kind", kFloat, kFixed))),
        rows_(reader, "rows", "row_weights", y_.dim[1], x_.dim[1], kind_),
        columns_(reader, "columns", "column_weights", y_.dim[2], x_.dim[2], kind_),
        parameters_{reader.real("x_scale"), reader.zero_point("x_zero_point"),
                    reader.real("y_scale"), reader.zero_point("y_zero_point")},
        table_(reader.table()),
        vector_kernels_(kernels::vector_kernels(active_isa())),
        kernels_(kernels::float_kernels(active_isa())) {
    reader.require(x_.dim[0] == y_.dim[0] && x_.dim[3] == y_.dim[3],
                   "x and y differ in batch or channels");
    const bool contiguous =
        commands::effective_stride(x_, 3) == 1 && commands::effective_stride(y_, 3) == 1;
    group_ = contiguous ? y_.dim[3] : 1;
  }

  void run(const RunContext& context) const override {
    if (y_.elements() == 0) return;
    const uint8_t* x = context.data<uint8_t>(x_index_);
    uint8_t* y = context.data<uint8_t>(y_index_);
    const auto grain = static_cast<size_t>(std::max<int64_t>(1, kGrain / (y_.dim[2] * y_.dim[3])));
    const auto rows = static_cast<size_t>(y_.dim[0] * y_.dim[1]);
    parallel_ranges(context.pool(), rows, grain, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const int64_t n = static_cast<int64_t>(i) / y_.dim[1];
        run_row(x + n * x_.stride[0], y + n * y_.stride[0], i % static_cast<size_t>(y_.dim[1]));
      }
    });
  }

 private:
  // One row of the result; `x` and `y` are those of its image.
  void run_row(const uint8_t* x, uint8_t* y, size_t oh) const {
    y += static_cast<int64_t>(oh) * y_.stride[1];
    for (size_t ow = 0; ow < static_cast<size_t>(y_.dim[2]); ++ow) {
      const uint8_t* taps[4];
      float weights[4];
      for (size_t t = 0; t < 4; ++t) {
        const size_t row = 2 * oh + t / 2, column = 2 * ow + t % 2;
        taps[t] = x + rows_.at[row] * x_.stride[1] + columns_.at[column] * x_.stride[2];
        weights[t] = rows_.weights[row] * columns_.weights[column];
      }
      uint8_t* to = y + static_cast<int64_t>(ow) * y_.stride[2];
      for (int64_t c = 0; c < y_.dim[3]; c += group_) {
        blend(taps, weights, to);
        for (const uint8_t*& tap : taps) tap += x_.stride[3];
        to += y_.stride[3];
      }
    }
    commands::apply_table(
        vector_kernels_, table_,
        {y, y_.stride[2], commands::effective_stride(y_, 3), y_.dim[2], y_.dim[3]});
  }

  void blend(const uint8_t* const* taps, const float* weights, uint8_t* y) const {
    const auto count = static_cast<size_t>(group_);
    switch (kind_) {
      case kFloat:
        return kernels_.blend(taps, weights, y, count, parameters_);
      case kTruncated:
        return kernels_.blend_bytes(taps, weights, y, count);
      case kFixed:
        return kernels_.blend_fixed(taps, weights, y, count);
    }
  }

  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  Kind kind_;
  Interpolation rows_, columns_;
  kernels::BlendParameters parameters_;
  CommandReader::Table table_;
  const kernels::VectorKernels& vector_kernels_;
  const kernels::FloatKernels& kernels_;
  int64_t group_ = 1;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::RESIZE_LINEAR>(const Program& program,
                                                        const CommandRecord& record) {
  return std::make_unique<ResizeLinear>(CommandReader(program, record));
}

}  // namespace furiosa
