// ADD and MUL: two quantised operands, element by element.

#include "device_emulator/native/commands/rows.h"
#include "kernels/native/nest.h"

namespace furiosa {
namespace {

using kernels::AddParameters;
using kernels::MulParameters;

constexpr size_t kA = 0, kB = 1, kTable = 2, kY = 3;
constexpr int64_t kGrain = 64 * 1024;

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
    kernels::for_each_block(nest_, context.pool(), kGrain, [&](const kernels::Block& block) {
      run_block(a + block.offsets[kA], b + block.offsets[kB], y + block.offsets[kY], block);
    });
  }

 private:
  void run_block(const uint8_t* a, const uint8_t* b, uint8_t* y,
                 const kernels::Block& block) const {
    uint8_t a_row[kernels::kBlockElements], b_row[kernels::kBlockElements];
    const auto& rows = nest_.rows().strides;
    const auto& steps = nest_.columns().strides;
    const uint8_t* table = table_ ? table_.data + block.offsets[kTable] : nullptr;
    const int64_t count = block.columns;
    for (int64_t r = 0; r < block.rows; ++r, a += rows[kA], b += rows[kB], y += rows[kY]) {
      const uint8_t* of_a = kernels::load_row(a, steps[kA], count, a_row);
      const uint8_t* of_b = kernels::load_row(b, steps[kB], count, b_row);
      uint8_t* result = kernels::result_row(y, steps[kY], a_row);
      kernel_(of_a, of_b, result, static_cast<size_t>(count), parameters_);
      if (table != nullptr) {
        commands::lookup_row(kernels_, table, steps[kTable], result, result, count);
        table += rows[kTable];
      }
      kernels::store_row(result, y, steps[kY], count);
    }
  }

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
