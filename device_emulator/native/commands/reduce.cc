// REDUCE: means, sums, maxima and norms over the last dims.
#include "kernels/native/reduce.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "device_emulator/native/commands/float_result.h"
#include "kernels/native/aligned.h"

namespace furiosa {
namespace {

constexpr int64_t kGrain = 16 * 1024;                // elements for some 10 us
constexpr int64_t kMostElements = int64_t{1} << 28;  // of a row

enum Kind : int64_t { kMean = 0, kSum = 1, kMax = 2, kL2 = 3 };

class Reduce final : public Command {
 public:
  explicit Reduce(const CommandReader& reader)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x")),
        y_(reader.tensor("y")),
        kind_(static_cast<Kind>(reader.integer("kind", kMean, kL2))),
        values_(commands::dequantized_bytes(reader)),
        result_(reader, reader.table()) {
    const int64_t count = reader.integer("count", 1, x_.rank);
    kept_ = x_.rank - static_cast<size_t>(count);
    reader.require_dims("y", x_.dims().first(kept_));
    const int64_t inner = reader.integer("inner", 0, count);
    const auto order = static_cast<kernels::ReduceOrder>(reader.integer("order", 0, 2));
    const bool packets = order == kernels::ReduceOrder::kPackets && kind_ != kMax;
    reader.require(!packets || inner >= 1, "inner is expected from 1 to count for order 1");
    reader.require(y_.elements() == 0 || x_.elements() > 0, "nothing to reduce");
    read_offsets(reader);
    if (kind_ == kL2) {
      for (float& value : values_) value *= value;
    }
    reduction_.order = kind_ == kMax ? kernels::ReduceOrder::kLargest : order;
    reduction_.run = 1;
    for (size_t dim = x_.rank - static_cast<size_t>(inner); packets && dim < x_.rank; ++dim) {
      reduction_.run *= static_cast<size_t>(x_.dim[dim]);
    }
    reduction_.rows = y_.elements();
    reduction_.values = values_.data();
    reduction_.offsets = offsets_;
  }

  void run(const RunContext& context) const override {
    const int64_t rows = y_.elements();
    if (rows == 0) return;
    const auto* x = context.data<uint8_t>(x_index_);
    auto* y = context.data<std::byte>(y_index_);
    // Blocks do not cross rows of the last kept dim, whose index selects the row of a table.
    const int64_t width = kept_ == 0 ? 1 : y_.dim[kept_ - 1];
    const auto lanes = static_cast<int64_t>(kernels::kReduceLanes);
    const int64_t blocks = (width + lanes - 1) / lanes;
    const auto grain = static_cast<size_t>(
        std::max<int64_t>(1, kGrain / (lanes * static_cast<int64_t>(offsets_.size()))));
    parallel_ranges(context.pool(), static_cast<size_t>(rows / width * blocks), grain,
                    [&](size_t begin, size_t end) {
                      for (size_t i = begin; i < end; ++i) {
                        const int64_t block = static_cast<int64_t>(i);
                        run_block(x, y, block / blocks * width, block % blocks * lanes, width);
                      }
                    });
  }

 private:
  void read_offsets(const CommandReader& reader) {
    int64_t elements = 1;
    for (size_t dim = kept_; dim < x_.rank; ++dim) {
      reader.require(x_.dim[dim] <= kMostElements / std::max<int64_t>(1, elements),
                     "too many elements in a row");
      elements *= x_.dim[dim];
    }
    offsets_.resize(static_cast<size_t>(elements));
    for (int64_t i = 0; i < elements; ++i) {
      int64_t rest = i, offset = 0;
      for (size_t dim = x_.rank; dim-- > kept_; rest /= x_.dim[dim]) {
        offset += rest % x_.dim[dim] * x_.stride[dim];
      }
      offsets_[static_cast<size_t>(i)] = offset;
    }
  }

  // Rows [base + first, ...) of one row of y's last dim, up to kReduceLanes of them.
  void run_block(const uint8_t* x, std::byte* y, int64_t base, int64_t first, int64_t width) const {
    const auto count = std::min<int64_t>(width - first, kernels::kReduceLanes);
    int64_t rest = base / width, y_offset = 0;
    for (size_t dim = kept_ == 0 ? 0 : kept_ - 1; dim-- > 0; rest /= x_.dim[dim]) {
      x += rest % x_.dim[dim] * x_.stride[dim];
      y_offset += rest % x_.dim[dim] * y_.stride[dim];
    }
    const int64_t x_step = kept_ == 0 ? 0 : x_.stride[kept_ - 1];
    const int64_t y_step = kept_ == 0 ? 1 : y_.stride[kept_ - 1];
    int64_t lanes[kernels::kReduceLanes];
    for (int64_t i = 0; i < count; ++i) lanes[i] = (first + i) * x_step;
    float results[kernels::kReduceLanes];
    auto* scratch = reinterpret_cast<float*>(
        kernels::thread_scratch(kernels::kReduceLanes * reduction_.run * sizeof(float)));
    kernels::reduce(reduction_, x, lanes, static_cast<size_t>(count), base + first, results,
                    scratch);
    for (int64_t i = 0; i < count; ++i) {
      if (kind_ == kMean) results[i] /= static_cast<float>(offsets_.size());
      if (kind_ == kL2) results[i] = std::sqrt(results[i]);
    }
    uint8_t bytes[kernels::kReduceLanes];
    result_.store(results, count, result_.at(y, y_offset + first * y_step), y_step, first, bytes);
  }

  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  Kind kind_;
  std::array<float, 256> values_;
  std::vector<int64_t> offsets_;
  kernels::Reduction reduction_{};
  commands::FloatResult result_;
  size_t kept_ = 0;  // dims of x that y has too
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::REDUCE>(const Program& program,
                                                 const CommandRecord& record) {
  return std::make_unique<Reduce>(CommandReader(program, record));
}

}  // namespace furiosa
