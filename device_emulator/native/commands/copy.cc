// COPY: moves bytes between views, through a table where there is one.

#include "device_emulator/native/commands/rows.h"
#include "kernels/native/nest.h"

namespace furiosa {
namespace {

constexpr size_t kX = 0, kTable = 1, kY = 2;
constexpr int64_t kGrain = 128 * 1024;  // elements for some 10 us

class Copy final : public Command {
 public:
  explicit Copy(const CommandReader& reader)
      : x_(reader.index("x")),
        y_(reader.index("y")),
        table_(reader.table()),
        kernels_(kernels::vector_kernels(active_isa())) {
    const Tensor& x = reader.tensor("x");
    const Tensor& y = reader.tensor("y");
    reader.require_dims("x", y.dims());
    nest_ = kernels::make_transposable_nest(
        y.dims(), {x.strides(), commands::table_strides(table_, y), y.strides()});
  }

  void run(const RunContext& context) const override {
    const uint8_t* x = context.data<uint8_t>(x_);
    uint8_t* y = context.data<uint8_t>(y_);
    kernels::for_each_block(nest_, context.pool(), kGrain, [&](const kernels::Block& block) {
      const uint8_t* from = x + block.offsets[kX];
      uint8_t* to = y + block.offsets[kY];
      const int64_t x_row = nest_.rows().strides[kX], x_step = nest_.columns().strides[kX];
      const int64_t y_row = nest_.rows().strides[kY], y_step = nest_.columns().strides[kY];
      const auto rows = static_cast<size_t>(block.rows);
      const auto columns = static_cast<size_t>(block.columns);
      if (nest_.transposed) {
        kernels_.transpose(from, x_step, to, y_row, rows, columns);
        if (table_) lookup_rows(to, y_row, 1, to, y_row, 1, block);
      } else if (!table_ && x_step == 1 && y_step == 1) {
        kernels_.copy_rows(from, x_row, to, y_row, rows, columns);
      } else {
        lookup_rows(from, x_row, x_step, to, y_row, y_step, block);
      }
    });
  }

 private:
  void lookup_rows(const uint8_t* x, int64_t x_row, int64_t x_step, uint8_t* y, int64_t y_row,
                   int64_t y_step, const kernels::Block& block) const {
    uint8_t buffer[kernels::kBlockElements];
    const uint8_t* table = table_ ? table_.data + block.offsets[kTable] : nullptr;
    for (int64_t r = 0; r < block.rows; ++r, x += x_row, y += y_row) {
      const uint8_t* row = kernels::load_row(x, x_step, block.columns, buffer);
      if (table != nullptr) {
        uint8_t* result = kernels::result_row(y, y_step, buffer);
        commands::lookup_row(kernels_, table, nest_.columns().strides[kTable], row, result,
                             block.columns);
        table += nest_.rows().strides[kTable];
        row = result;
      }
      kernels::store_row(row, y, y_step, block.columns);
    }
  }

  uint32_t x_, y_;
  CommandReader::Table table_;
  const kernels::VectorKernels& kernels_;
  kernels::Nest nest_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::COPY>(const Program& program,
                                               const CommandRecord& record) {
  return std::make_unique<Copy>(CommandReader(program, record));
}

}  // namespace furiosa
