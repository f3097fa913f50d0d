// COPY: moves bytes between views, through a table where there is one.

#include "device_emulator/native/commands/rows.h"
#include "kernels/native/dense_blocks.h"
#include "kernels/native/nest.h"

namespace furiosa {
namespace {

constexpr size_t kX = 0, kTable = 1, kY = 2;
constexpr int64_t kGrain = 128 * 1024;  // elements for some 10 us
constexpr int64_t kShort = 16;          // elements, too few for a lookup of their own
constexpr int64_t kPacked = 4096;       // elements

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
    narrow_ = is_narrow();
  }

  void run(const RunContext& context) const override {
    const uint8_t* x = context.data<uint8_t>(x_);
    uint8_t* y = context.data<uint8_t>(y_);
    if (narrow_) {
      run_packed(context, x, y);
    } else {
      kernels::for_each_block(nest_, context.pool(), kGrain, [&](const kernels::Block& block) {
        run_block(x + block.offsets[kX], y + block.offsets[kY], block);
      });
    }
  }

 private:
  // Whether rows go through the table that are too short for it one by one.
  bool is_narrow() const {
    const kernels::Nest::Loop& columns = nest_.columns();
    if (!table_ || nest_.transposed) return false;
    return columns.strides[kX] != 1 || columns.strides[kY] != 1 || columns.dim < kShort;
  }

  void run_packed(const RunContext& context, const uint8_t* x, uint8_t* y) const {
    const kernels::DenseBlocks blocks(nest_, kPacked);
    for_block_ranges(blocks, context.pool(), kGrain, [&](size_t begin, size_t end) {
      uint8_t buffer[kPacked];
      for (size_t i = begin; i < end; ++i) {
        const kernels::DenseBlock block = blocks[i];
        uint8_t* to = y + block.offsets[kY];
        uint8_t* packed = blocks.dense(kY) ? to : buffer;
        blocks.pack(block, kX, x + block.offsets[kX], packed);
        commands::apply_table(kernels_, table_, blocks, block, kTable, packed);
        if (packed != to) blocks.unpack(block, kY, packed, to);
      }
    });
  }

  void run_block(const uint8_t* x, uint8_t* y, const kernels::Block& block) const {
    const kernels::Nest::Loop &rows = nest_.rows(), &columns = nest_.columns();
    const int64_t x_row = rows.strides[kX], x_step = columns.strides[kX];
    const int64_t y_row = rows.strides[kY], y_step = columns.strides[kY];
    const auto height = static_cast<size_t>(block.rows), width = static_cast<size_t>(block.columns);
    if (nest_.transposed) {
      kernels_.transpose(x, x_step, y, y_row, height, width);
      if (table_) look_up(y, y_row, y, y_row, block);
    } else if (table_) {
      look_up(x, x_row, y, y_row, block);
    } else if (x_step == 1 && y_step == 1) {
      kernels_.copy_rows(x, x_row, y, y_row, height, width);
    } else {
      for (int64_t r = 0; r < block.rows; ++r, x += x_row, y += y_row) {
        for (int64_t c = 0; c < block.columns; ++c) y[c * y_step] = x[c * x_step];
      }
    }
  }

  // The tables of contiguous rows.
  void look_up(const uint8_t* x, int64_t x_row, uint8_t* y, int64_t y_row,
               const kernels::Block& block) const {
    const uint8_t* tables = table_.data + block.offsets[kTable];
    const int64_t from_row = nest_.rows().strides[kTable];
    const auto rows = static_cast<size_t>(block.rows), columns = static_cast<size_t>(block.columns);
    if (from_row == 0) {
      const bool per_column = nest_.columns().strides[kTable] != 0;
      (per_column ? kernels_.lookup_columns
                  : kernels_.lookup_rows)({x, x_row, y, y_row, rows, columns, tables});
      return;
    }
    for (size_t r = 0; r < rows; ++r, x += x_row, y += y_row, tables += from_row) {
      kernels_.lookup(x, y, columns, tables);
    }
  }

  uint32_t x_, y_;
  CommandReader::Table table_;
  const kernels::VectorKernels& kernels_;
  kernels::Nest nest_;
  bool narrow_ = false;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::COPY>(const Program& program,
                                               const CommandRecord& record) {
  return std::make_unique<Copy>(CommandReader(program, record));
}

}  // namespace furiosa
