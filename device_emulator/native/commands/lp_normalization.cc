// LP_NORMALIZATION: vectors along the last dim divided by their norm.

#include <algorithm>
#include <cmath>

#include "device_emulator/native/commands/float_result.h"
#include "kernels/native/aligned.h"

namespace furiosa {
namespace {

constexpr int64_t kGrain = 8 * 1024;  // elements for some 10 us
constexpr int64_t kMostLength = 1 << 28;

class LpNormalization final : public Command {
 public:
  explicit LpNormalization(const CommandReader& reader)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x")),
        y_(reader.tensor("y")),
        squared_(reader.integer("p", 1, 2) == 2),
        values_(commands::dequantized_bytes(reader)),
        result_(reader, {}) {
    reader.require(x_.rank >= 1, "x is a scalar");
    reader.require_dims("x", y_.dims());
    last_ = x_.rank - 1;
    reader.require(x_.dim[last_] <= kMostLength, "the last dim is too large");
    for (size_t i = 0; i < values_.size(); ++i) {
      terms_[i] = squared_ ? values_[i] * values_[i] : std::fabs(values_[i]);
    }
  }

  void run(const RunContext& context) const override {
    if (y_.elements() == 0) return;
    const auto* x = context.data<uint8_t>(x_index_);
    auto* y = context.data<std::byte>(y_index_);
    const int64_t length = x_.dim[last_];
    const auto rows = static_cast<size_t>(x_.elements() / length);
    const auto grain = static_cast<size_t>(std::max<int64_t>(1, kGrain / length));
    parallel_ranges(context.pool(), rows, grain, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) run_row(x, y, static_cast<int64_t>(i));
    });
  }

 private:
  void run_row(const uint8_t* x, std::byte* y, int64_t row) const {
    int64_t y_offset = 0;
    for (size_t dim = last_; dim-- > 0; row /= x_.dim[dim]) {
      x += row % x_.dim[dim] * x_.stride[dim];
      y_offset += row % x_.dim[dim] * y_.stride[dim];
    }
    const int64_t length = x_.dim[last_], step = x_.stride[last_];
    float norm = 0;
    for (int64_t i = 0; i < length; ++i) norm += terms_[x[i * step]];
    if (squared_) norm = std::sqrt(norm);
    uint8_t* scratch =
        kernels::thread_scratch(static_cast<size_t>(length) * (sizeof(float) + sizeof(uint8_t)));
    auto* results = reinterpret_cast<float*>(scratch);
    for (int64_t i = 0; i < length; ++i) {
      results[i] = norm != 0 ? values_[x[i * step]] / norm : 0;
    }
    result_.store(results, length, result_.at(y, y_offset), commands::effective_stride(y_, last_),
                  0, scratch + static_cast<size_t>(length) * sizeof(float));
  }

  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  bool squared_;
  std::array<float, 256> values_;
  std::array<float, 256> terms_;  // what each byte adds to the norm
  commands::FloatResult result_;
  size_t last_ = 0;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::LP_NORMALIZATION>(const Program& program,
                                                           const CommandRecord& record) {
  return std::make_unique<LpNormalization>(CommandReader(program, record));
}

}  // namespace furiosa
