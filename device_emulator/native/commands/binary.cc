// ADD and MUL: two quantised operands, element by element.

#include "device_emulator/native/commands/rows.h"
#include "kernels/native/dense_blocks.h"

namespace furiosa {
namespace {

using kernels::AddParameters;
using kernels::MulParameters;

constexpr size_t kA = 0, kB = 1, kTable = 2, kY = 3;
constexpr int64_t kGrain = 64 * 1024;
constexpr int64_t kMostElements = 4096;  // of a block: its operands stay in the first-level cache

template <class Parameters>
class Binary final : public Command {
 public:
  using Kernel = void (*)(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count,
                          const Parameters& parameters);

  Binary(const CommandReader& reader, Kernel kernel, const Parameters& parameters)
      : a_(reader.index("a")),
        b_(reader.index("b")),
        y_(reader.index("y")),
        table_(reader.table()),
        kernel_(kernel),
        parameters_(parameters),
        kernels_(kernels::vector_kernels(active_isa())) {
    const Tensor& y = reader.tensor("y");
    reader.require_dims("a", y.dims());
    reader.require_dims("b", y.dims());
    nest_ =
        kernels::make_nest(y.dims(), {reader.tensor("a").strides(), reader.tensor("b").strides(),
                                      commands::table_strides(table_, y), y.strides()});
  }

  void run(const RunContext& context) const override {
    const uint8_t* a = context.data<uint8_t>(a_);
    const uint8_t* b = context.data<uint8_t>(b_);
    uint8_t* y = context.data<uint8_t>(y_);
    const kernels::DenseBlocks blocks(nest_, kMostElements);
    for_block_ranges(blocks, context.pool(), kGrain, [&](size_t begin, size_t end) {
      uint8_t a_buffer[kMostElements], b_buffer[kMostElements], y_buffer[kMostElements];
      kernels::DenseOperand of_a(blocks, kA, a, a_buffer), of_b(blocks, kB, b, b_buffer);
      for (size_t i = begin; i < end; ++i) {
        const kernels::DenseBlock block = blocks[i];
        uint8_t* target = y + block.offsets[kY];
        uint8_t* result = blocks.dense(kY) ? target : y_buffer;
        kernel_(of_a(block), of_b(block), result, static_cast<size_t>(block.elements), parameters_);
        commands::apply_table(kernels_, table_, blocks, block, kTable, result);
        if (result != target) blocks.unpack(block, kY, result, target);
      }
    });
  }

 private:
  uint32_t a_, b_, y_;
  CommandReader::Table table_;
  Kernel kernel_;
  Parameters parameters_;
  const kernels::VectorKernels& kernels_;
  kernels::Nest nest_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::ADD>(const Program& program, const CommandRecord& record) {
  const CommandReader reader(program, record);
  const AddParameters parameters = {
      .a_scale = reader.real("a_scale"),
      .b_scale = reader.real("b_scale"),
      .offset = reader.real("offset"),
      .bias = reader.flag("signed") ? 128 : 0,
  };
  return std::make_unique<Binary<AddParameters>>(reader, kernels::vector_kernels(active_isa()).add,
                                                 parameters);
}

template <>
std::unique_ptr<Command> prepare<Opcode::MUL>(const Program& program, const CommandRecord& record) {
  const CommandReader reader(program, record);
  const int32_t bias = reader.flag("signed") ? 128 : 0;
  const MulParameters parameters = {
      .multiplier = reader.real("multiplier"),
      .a_zero_point = reader.zero_point("a_zero_point"),
      .b_zero_point = reader.zero_point("b_zero_point"),
      .y_zero_point = static_cast<float>(reader.zero_point("y_zero_point") - bias),
      .bias = bias,
  };
  return std::make_unique<Binary<MulParameters>>(reader, kernels::vector_kernels(active_isa()).mul,
                                                 parameters);
}

}  // namespace furiosa
