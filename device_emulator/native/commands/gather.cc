// GATHER and RESIZE_NEAREST: rows of bytes picked by constant indices.

#include <cstring>

#include "device_emulator/native/commands/rows.h"
#include "kernels/native/aligned.h"

namespace furiosa {
namespace {

constexpr int64_t kGrain = 128 * 1024;  // bytes for some 10 us

// The constant indices of an operand, each from 0 to size - 1.
std::span<const int32_t> read_indices(const CommandReader& reader, std::string_view operand,
                                      int64_t count, int64_t size) {
  const auto indices = reader.constant<int32_t>(operand, count);
  for (const int32_t index : indices) {
    if (index >= 0 && index < size) continue;
    reader.fail(std::string(operand) + " has the index " + std::to_string(index) +
                ": expected 0 to " + std::to_string(size - 1));
  }
  return indices;
}

// y[r, i] = x[indices[r], i] for views of two dims, then the table.
class Picker {
 public:
  // The two dims are `dim` and the one after it.
  Picker(const CommandReader& reader, size_t dim)
      : x_row_(reader.tensor("x").stride[dim]),
        x_step_(commands::effective_stride(reader.tensor("x"), dim + 1)),
        y_row_(reader.tensor("y").stride[dim]),
        y_step_(commands::effective_stride(reader.tensor("y"), dim + 1)),
        count_(reader.tensor("y").dim[dim + 1]),
        table_(reader.table()),
        kernels_(kernels::vector_kernels(active_isa())) {}

  void operator()(const uint8_t* x, uint8_t* y, std::span<const int32_t> indices) const {
    if (x_step_ == 1 && y_step_ == 1) {
      kernels_.gather_rows(x, x_row_, indices.data(), indices.size(), y, y_row_,
                           static_cast<size_t>(count_));
    } else {
      uint8_t* to = y;
      for (const int32_t index : indices) {
        const uint8_t* from = x + index * x_row_;
        for (int64_t i = 0; i < count_; ++i) to[i * y_step_] = from[i * x_step_];
        to += y_row_;
      }
    }
    commands::apply_table(kernels_, table_,
                          {y, y_row_, y_step_, static_cast<int64_t>(indices.size()), count_});
  }

  // Whether it pays to look up each of `rows` rows of x once, as most are picked repeatedly.
  bool looks_up_first(size_t rows, size_t picked) const {
    return table_ && x_step_ == 1 && y_step_ == 1 && rows < picked;
  }

  // The first step of that: `rows` rows of x go through the table, one after the other, to `to`.
  void look_up(const uint8_t* x, size_t rows, uint8_t* to) const {
    (table_.per_channel ? kernels_.lookup_columns : kernels_.lookup_rows)(
        {x, x_row_, to, count_, rows, static_cast<size_t>(count_), table_.data});
  }

  // The second.
  void pick(const uint8_t* looked_up, uint8_t* y, std::span<const int32_t> indices) const {
    kernels_.gather_rows(looked_up, count_, indices.data(), indices.size(), y, y_row_,
                         static_cast<size_t>(count_));
  }

  bool contiguous() const { return y_step_ == 1 && y_row_ == count_; }

 private:
  int64_t x_row_, x_step_, y_row_, y_step_, count_;
  CommandReader::Table table_;
  const kernels::VectorKernels& kernels_;
};

class Gather final : public Command {
 public:
  explicit Gather(const CommandReader& reader)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x", 3)),
        y_(reader.tensor("y", 3)),
        indices_(read_indices(reader, "indices", y_.dim[1], x_.dim[1])),
        pick_(reader, 1) {
    reader.require(x_.dim[0] == y_.dim[0] && x_.dim[2] == y_.dim[2],
                   "x and y differ beside the gathered dim");
  }

  void run(const RunContext& context) const override {
    if (y_.elements() == 0) return;
    const uint8_t* x = context.data<uint8_t>(x_index_);
    uint8_t* y = context.data<uint8_t>(y_index_);
    const auto rows = static_cast<size_t>(y_.dim[0] * y_.dim[1]);
    const auto grain = static_cast<size_t>(kGrain / y_.dim[2]);
    parallel_ranges(context.pool(), rows, grain, [&](size_t begin, size_t end) {
      const size_t per_image = indices_.size();
      while (begin < end) {
        const size_t first = begin % per_image;
        const size_t count = std::min(end - begin, per_image - first);
        const auto n = static_cast<int64_t>(begin / per_image);
        pick_(x + n * x_.stride[0],
              y + n * y_.stride[0] + static_cast<int64_t>(first) * y_.stride[1],
              indices_.subspan(first, count));
        begin += count;
      }
    });
  }

 private:
  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  std::span<const int32_t> indices_;
  Picker pick_;
};

class ResizeNearest final : public Command {
 public:
  explicit ResizeNearest(const CommandReader& reader)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x", 4)),
        y_(reader.tensor("y", 4)),
        rows_(read_indices(reader, "rows", y_.dim[1], x_.dim[1])),
        columns_(read_indices(reader, "columns", y_.dim[2], x_.dim[2])),
        pick_(reader, 2) {
    reader.require(x_.dim[0] == y_.dim[0] && x_.dim[3] == y_.dim[3],
                   "x and y differ in batch or channels");
  }

  void run(const RunContext& context) const override {
    if (y_.elements() == 0) return;
    const uint8_t* x = context.data<uint8_t>(x_index_);
    uint8_t* y = context.data<uint8_t>(y_index_);
    const auto rows = static_cast<size_t>(y_.dim[0] * y_.dim[1]);
    const int64_t row_size = y_.dim[2] * y_.dim[3];
    const auto grain = static_cast<size_t>(kGrain / row_size);
    const bool look_up_first =
        pick_.looks_up_first(static_cast<size_t>(x_.dim[2]), columns_.size());
    const auto size = static_cast<size_t>(look_up_first ? x_.dim[2] * x_.dim[3] : 0);
    parallel_ranges(context.pool(), rows, grain, [&](size_t begin, size_t end) {
      uint8_t* looked_up = kernels::thread_scratch(size);
      for (size_t i = begin; i < end; ++i) {
        const int64_t n = static_cast<int64_t>(i) / y_.dim[1];
        const int64_t h = static_cast<int64_t>(i) % y_.dim[1];
        const uint8_t* from = x + n * x_.stride[0] + rows_[h] * x_.stride[1];
        uint8_t* to = y + n * y_.stride[0] + h * y_.stride[1];
        const bool again = i > begin && h > 0 && rows_[h] == rows_[h - 1];
        if (again && pick_.contiguous()) {
          std::memmove(to, to - y_.stride[1], static_cast<size_t>(row_size));
        } else if (look_up_first) {
          if (!again) pick_.look_up(from, static_cast<size_t>(x_.dim[2]), looked_up);
          pick_.pick(looked_up, to, columns_);
        } else {
          pick_(from, to, columns_);
        }
      }
    });
  }

 private:
  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  std::span<const int32_t> rows_;
  std::span<const int32_t> columns_;
  Picker pick_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::GATHER>(const Program& program,
                                                 const CommandRecord& record) {
  return std::make_unique<Gather>(CommandReader(program, record));
}

template <>
std::unique_ptr<Command> prepare<Opcode::RESIZE_NEAREST>(const Program& program,
                                                         const CommandRecord& record) {
  return std::make_unique<ResizeNearest>(CommandReader(program, record));
}

}  // namespace furiosa
