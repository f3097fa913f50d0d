// EXPRESSION: float arithmetic on up to four operands, element by element, as a stack machine that
// works on rows.

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "device_emulator/native/commands/rows.h"
#include "kernels/native/nest.h"

namespace furiosa {
namespace {

constexpr size_t kOperands = 4;
constexpr size_t kTable = kOperands, kY = kOperands + 1;
constexpr int64_t kChunk = 512;  // elements at once
constexpr size_t kMostDepth = 8;
constexpr int64_t kGrain = 16 * 1024;
constexpr const char* kNames[kOperands] = {"a", "b", "c", "d"};

enum class Op : uint32_t { kInput, kConst, kAdd, kSub, kMul, kDiv, kMin, kMax, kNeg, kAbs, kSqrt };

class Expression final : public Command {
 public:
  explicit Expression(const CommandReader& reader)
      : y_(reader.index("y")),
        y_is_float_(reader.tensor("y").dtype == DType::kF32),
        y_scale_(reader.real("y_scale")),
        y_zero_point_(reader.zero_point("y_zero_point")),
        table_(reader.table()),
        kernels_(kernels::vector_kernels(active_isa())) {
    const Tensor& y = reader.tensor("y");
    reader.require(!(y_is_float_ && table_), "a float result cannot go through a table");
    static constexpr std::array<int64_t, kMaxRank> kNoStrides{};
    std::array<std::span<const int64_t>, kOperands> strides;
    for (size_t k = 0; k < kOperands; ++k) {
      const std::string name = kNames[k];
      const Tensor* tensor = reader.find(name);
      strides[k] = tensor == nullptr ? std::span<const int64_t>(kNoStrides) : tensor->strides();
      if (tensor != nullptr) reader.require_dims(name, y.dims());
      inputs_[k] = {.tensor = reader.index(name),
                    .is_float = tensor != nullptr && tensor->dtype == DType::kF32,
                    .scale = reader.real(name + "_scale"),
                    .zero_point = reader.zero_point(name + "_zero_point")};
    }
    nest_ = kernels::make_nest(y.dims(), {strides[0], strides[1], strides[2], strides[3],
                                          commands::table_strides(table_, y), y.strides()});
    decode(reader);
  }

  void run(const RunContext& context) const override {
    kernels::for_each_block(nest_, context.pool(), kGrain, [&](const kernels::Block& block) {
      for (int64_t r = 0; r < block.rows; ++r) {
        for (int64_t i = 0; i < block.columns; i += kChunk) {
          run_chunk(context, block, r, i, std::min(kChunk, block.columns - i));
        }
      }
    });
  }

 private:
  struct Input {
    uint32_t tensor = kAbsent;
    bool is_float = false;
    float scale = 0;
    int32_t zero_point = 0;
  };
  struct Step {
    Op op;
    uint32_t payload;  // an input, or where a constant begins in constants_
  };
  struct Buffers {
    float stack[kMostDepth][kChunk];
    float floats[kChunk];
    uint8_t bytes[kChunk];
  };

  // Checks the code and turns it into steps_.
  void decode(const CommandReader& reader) {
    size_t depth = 0;
    for (const uint64_t word : reader.variadic()) {
      Step step = {static_cast<Op>(static_cast<uint32_t>(word)), static_cast<uint32_t>(word >> 32)};
      reader.require(step.op <= Op::kSqrt, "the code has an unknown operation");
      if (step.op == Op::kInput) {
        reader.require(step.payload < kOperands && inputs_[step.payload].tensor != kAbsent,
                       "the code uses an operand that is absent");
      } else if (step.op == Op::kConst) {
        const auto begin = static_cast<uint32_t>(constants_.size());
        constants_.insert(constants_.end(), kChunk, std::bit_cast<float>(step.payload));
        step.payload = begin;
      }
      const size_t taken = step.op <= Op::kConst ? 0 : step.op <= Op::kMax ? 2 : 1;
      reader.require(depth >= taken, "the code takes more values than there are");
      depth += 1 - taken;
      reader.require(depth <= kMostDepth, "the code needs more than 8 values at once");
      steps_.push_back(step);
    }
    reader.require(depth == 1, "the code does not leave exactly one value");
  }

  // The elements from `column` on of row `row` of a block.
  void run_chunk(const RunContext& context, const kernels::Block& block, int64_t row,
                 int64_t column, int64_t count) const {
    Buffers buffers;
    const float* stack[kMostDepth] = {};
    size_t depth = 0;
    const auto size = static_cast<size_t>(count);
    const auto offset = [&](size_t operand) {
      return block.offsets[operand] + row * nest_.rows().strides[operand] +
             column * nest_.columns().strides[operand];
    };
    for (const Step& step : steps_) {
      if (step.op == Op::kInput) {
        stack[depth] =
            load(context, step.payload, offset(step.payload), count, buffers, buffers.stack[depth]);
        ++depth;
      } else if (step.op == Op::kConst) {
        stack[depth++] = constants_.data() + step.payload;
      } else if (step.op <= Op::kMax) {
        --depth;
        float* result = buffers.stack[depth - 1];
        kernels_.binary[static_cast<size_t>(step.op) - static_cast<size_t>(Op::kAdd)](
            stack[depth - 1], stack[depth], result, size);
        stack[depth - 1] = result;
      } else {
        float* result = buffers.stack[depth - 1];
        kernels_.unary[static_cast<size_t>(step.op) - static_cast<size_t>(Op::kNeg)](
            stack[depth - 1], result, size);
        stack[depth - 1] = result;
      }
    }
    store(context, stack[0], offset(kY), offset(kTable), count, buffers);
  }

  const float* load(const RunContext& context, size_t operand, int64_t offset, int64_t count,
                    Buffers& buffers, float* target) const {
    const Input& input = inputs_[operand];
    const int64_t step = nest_.columns().strides[operand];
    if (input.is_float) {
      return kernels::load_row(context.data<const float>(input.tensor) + offset, step, count,
                               target);
    }
    const uint8_t* bytes = kernels::load_row(context.data<const uint8_t>(input.tensor) + offset,
                                             step, count, buffers.bytes);
    kernels_.dequantize(bytes, target, static_cast<size_t>(count), input.scale, input.zero_point);
    return target;
  }

  void store(const RunContext& context, const float* values, int64_t offset, int64_t table_offset,
             int64_t count, Buffers& buffers) const {
    const int64_t step = nest_.columns().strides[kY];
    if (y_is_float_) {
      float* y = context.data<float>(y_) + offset;
      for (int64_t i = 0; i < count; ++i) y[i * step] = values[i];
      return;
    }
    uint8_t* y = context.data<uint8_t>(y_) + offset;
    uint8_t* row = kernels::result_row(y, step, buffers.bytes);
    kernels_.quantize(values, row, static_cast<size_t>(count), y_scale_, y_zero_point_);
    if (table_) {
      commands::lookup_row(kernels_, table_.data + table_offset, nest_.columns().strides[kTable],
                           row, row, count);
    }
    kernels::store_row(row, y, step, count);
  }

  uint32_t y_;
  bool y_is_float_;
  float y_scale_;
  int32_t y_zero_point_;
  CommandReader::Table table_;
  std::array<Input, kOperands> inputs_;
  std::vector<Step> steps_;
  std::vector<float> constants_;  // kChunk copies of each
  const kernels::VectorKernels& kernels_;
  kernels::Nest nest_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::EXPRESSION>(const Program& program,
                                                     const CommandRecord& record) {
  return std::make_unique<Expression>(CommandReader(program, record));
}

}  // namespace furiosa
