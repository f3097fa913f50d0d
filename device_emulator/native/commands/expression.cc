// EXPRESSION: float arithmetic on up to four operands, element by element, as a stack machine that
// works on blocks.

#include <algorithm>
#include <bit>
#include <vector>

#include "device_emulator/native/commands/rows.h"
#include "kernels/native/dense_blocks.h"

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
    const kernels::DenseBlocks blocks(nest_, kChunk);
    for_block_ranges(blocks, context.pool(), kGrain, [&](size_t begin, size_t end) {
      Run run(*this, context, blocks);
      for (size_t i = begin; i < end; ++i) run(blocks[i]);
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

  // What computes one block after the other.
  class Run {
   public:
    Run(const Expression& expression, const RunContext& context, const kernels::DenseBlocks& blocks)
        : expression_(expression), context_(context), blocks_(blocks) {}

    void operator()(const kernels::DenseBlock& block) {
      const kernels::VectorKernels& kernels = expression_.kernels_;
      const auto size = static_cast<size_t>(block.elements);
      const float* stack[kMostDepth] = {};
      size_t depth = 0;
      for (const Step& step : expression_.steps_) {
        if (step.op == Op::kInput) {
          stack[depth] = load(block, step.payload, stack_[depth]);
          ++depth;
        } else if (step.op == Op::kConst) {
          stack[depth++] = expression_.constants_.data() + step.payload;
        } else if (step.op <= Op::kMax) {
          --depth;
          float* result = stack_[depth - 1];
          kernels.binary[static_cast<size_t>(step.op) - static_cast<size_t>(Op::kAdd)](
              stack[depth - 1], stack[depth], result, size);
          stack[depth - 1] = result;
        } else {
          float* result = stack_[depth - 1];
          kernels.unary[static_cast<size_t>(step.op) - static_cast<size_t>(Op::kNeg)](
              stack[depth - 1], result, size);
          stack[depth - 1] = result;
        }
      }
      store(block, stack[0]);
    }

   private:
    const float* load(const kernels::DenseBlock& block, size_t operand, float* target) {
      const Input& input = expression_.inputs_[operand];
      if (input.is_float) {
        const float* x = context_.data<const float>(input.tensor) + block.offsets[operand];
        if (blocks_.dense(operand)) return x;
        blocks_.pack(block, operand, x, target);
        return target;
      }
      const uint8_t* x = context_.data<const uint8_t>(input.tensor) + block.offsets[operand];
      if (!blocks_.dense(operand)) {
        blocks_.pack(block, operand, x, bytes_);
        x = bytes_;
      }
      expression_.kernels_.dequantize(x, target, static_cast<size_t>(block.elements), input.scale,
                                      input.zero_point);
      return target;
    }

    void store(const kernels::DenseBlock& block, const float* values) {
      const Expression& e = expression_;
      if (e.y_is_float_) {
        blocks_.unpack(block, kY, values, context_.data<float>(e.y_) + block.offsets[kY]);
        return;
      }
      uint8_t* y = context_.data<uint8_t>(e.y_) + block.offsets[kY];
      uint8_t* result = blocks_.dense(kY) ? y : bytes_;
      e.kernels_.quantize(values, result, static_cast<size_t>(block.elements), e.y_scale_,
                          e.y_zero_point_);
      commands::apply_table(e.kernels_, e.table_, blocks_, block, kTable, result);
      if (result != y) blocks_.unpack(block, kY, result, y);
    }

    const Expression& expression_;
    const RunContext& context_;
    const kernels::DenseBlocks& blocks_;
    float stack_[kMostDepth][kChunk];
    uint8_t bytes_[kChunk];
  };

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
