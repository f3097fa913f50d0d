#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_COMMANDS_ROWS_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_COMMANDS_ROWS_H_

#include <array>
#include <cstdint>
#include <span>

#include "device_emulator/native/command.h"
#include "kernels/native/dense_blocks.h"
#include "kernels/native/vector_kernels.h"

// What commands share that work on rows of bytes.
namespace furiosa::commands {

// Strides of a table as one more operand of a nest: 256 along the last dim where it has a row per
// index of that dim, otherwise 0.
inline std::array<int64_t, kMaxRank> table_strides(const CommandReader::Table& table,
                                                   const Tensor& result) {
  std::array<int64_t, kMaxRank> strides{};
  if (table.per_channel && result.rank > 0) strides[result.rank - 1] = 256;
  return strides;
}

// y[i] = table[i * stride + x[i]], where the stride is 256 or stands for a shared table.
inline void lookup_row(const kernels::VectorKernels& kernels, const uint8_t* table, int64_t stride,
                       const uint8_t* x, uint8_t* y, int64_t count) {
  if (stride != 256) {
    kernels.lookup(x, y, static_cast<size_t>(count), table);
    return;
  }
  for (int64_t i = 0; i < count; ++i) y[i] = table[256 * i + x[i]];
}

// Rows of a tensor that a table is applied to in place.
struct Rows {
  uint8_t* data;
  int64_t row_stride;
  int64_t stride;
  int64_t rows;
  int64_t count;
};

inline void apply_table(const kernels::VectorKernels& kernels, const CommandReader::Table& table,
                        Rows y) {
  if (!table) return;
  if (y.stride == 1) {
    (table.per_channel ? kernels.lookup_columns : kernels.lookup_rows)(
        {y.data, y.row_stride, y.data, y.row_stride, static_cast<size_t>(y.rows),
         static_cast<size_t>(y.count), table.data});
    return;
  }
  for (int64_t r = 0; r < y.rows; ++r, y.data += y.row_stride) {
    const uint8_t* row = table.data;
    for (int64_t i = 0; i < y.count; ++i, row += table.per_channel ? 256 : 0) {
      y.data[i * y.stride] = row[y.data[i * y.stride]];
    }
  }
}

// Applies a table to the packed elements of a block. `operand` is its number in the nest of the
// blocks, with table_strides().
inline void apply_table(const kernels::VectorKernels& kernels, const CommandReader::Table& table,
                        const kernels::DenseBlocks& blocks, const kernels::DenseBlock& block,
                        size_t operand, uint8_t* data) {
  if (!table) return;
  const int64_t count = table.per_channel ? blocks.columns(block) : block.elements;
  const uint8_t* first = table.data + block.offsets[operand];
  const int64_t pitch = blocks.column_stride(operand);
  if (!table.per_channel || (pitch == 256 && blocks.repeats(operand))) {
    apply_table(kernels, {first, table.per_channel},
                {data, count, 1, block.elements / count, count});
    return;
  }
  blocks.for_each_row(block, operand, [&](int64_t offset, int64_t packed) {
    lookup_row(kernels, first + offset, pitch, data + packed, data + packed, count);
  });
}

// The stride of a dim, or 1 where it does not matter.
inline int64_t effective_stride(const Tensor& tensor, size_t dim) {
  return tensor.dim[dim] == 1 ? 1 : tensor.stride[dim];
}

}  // namespace furiosa::commands

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_COMMANDS_ROWS_H_
