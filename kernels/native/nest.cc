#include "kernels/native/nest.h"

#include <cstdlib>

namespace furiosa::kernels {
namespace {

// The rows of a transposed block: as many bytes are read in one go.
constexpr int64_t kTransposedRows = 64;

// Whether the two loops are one loop for every operand.
bool mergeable(const Nest::Loop& outer, const Nest::Loop& inner) {
  for (size_t k = 0; k < Nest::kMaxOperands; ++k) {
    if (outer.strides[k] != inner.strides[k] * inner.dim) return false;
  }
  return true;
}

}  // namespace

int64_t Nest::elements() const {
  int64_t product = 1;
  for (size_t i = 0; i < rank; ++i) product *= loops[i].dim;
  return product;
}

Nest make_nest(std::span<const int64_t> dims,
               std::initializer_list<std::span<const int64_t>> strides) {
  const size_t result = strides.size() - 1;
  std::array<Nest::Loop, Nest::kMaxRank> loops;
  size_t count = 0;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 1) continue;
    Nest::Loop& loop = loops[count++];
    loop.dim = dims[i];
    size_t k = 0;
    for (const std::span<const int64_t> operand : strides) loop.strides[k++] = operand[i];
  }
  std::stable_sort(loops.begin(), loops.begin() + count,
                   [&](const Nest::Loop& one, const Nest::Loop& other) {
                     return std::abs(one.strides[result]) > std::abs(other.strides[result]);
                   });
  Nest nest;
  nest.rank = 0;
  for (size_t i = 0; i < count; ++i) {
    if (nest.rank > 0 && mergeable(nest.loops[nest.rank - 1], loops[i])) {
      const int64_t outer = nest.loops[nest.rank - 1].dim;
      nest.loops[nest.rank - 1] = loops[i];
      nest.loops[nest.rank - 1].dim *= outer;
    } else {
      nest.loops[nest.rank++] = loops[i];
    }
  }
  while (nest.rank < 2) {
    std::shift_right(nest.loops.begin(), nest.loops.end(), 1);
    nest.loops[0] = Nest::Loop{};
    ++nest.rank;
  }
  if (count == 0) {  // a scalar: the inner loop has one contiguous element
    for (size_t k = 0; k < strides.size(); ++k) nest.loops[1].strides[k] = 1;
  }
  return nest;
}

Nest make_transposable_nest(std::span<const int64_t> dims,
                            std::initializer_list<std::span<const int64_t>> strides) {
  Nest nest = make_nest(dims, strides);
  const Nest::Loop& columns = nest.columns();
  if (columns.strides[strides.size() - 1] != 1 || columns.strides[0] == 1) return nest;
  for (size_t i = 0; i + 1 < nest.rank; ++i) {
    if (nest.loops[i].strides[0] != 1 || nest.loops[i].dim == 1) continue;
    std::rotate(nest.loops.begin() + i, nest.loops.begin() + i + 1,
                nest.loops.begin() + nest.rank - 1);
    nest.transposed = true;
    break;
  }
  return nest;
}

Blocks::Blocks(const Nest& nest) : nest_(nest) {
  const int64_t rows = nest.rows().dim;
  const int64_t columns = nest.columns().dim;
  if (nest.elements() == 0) return;
  const int64_t least = std::min(rows, nest.transposed ? kTransposedRows : int64_t{1});
  block_rows_ = std::clamp(kBlockElements / columns, least, rows);
  block_columns_ = std::min(columns, kBlockElements / block_rows_);
  if (block_columns_ < columns && block_columns_ >= 64) block_columns_ = block_columns_ / 64 * 64;
  row_blocks_ = (rows + block_rows_ - 1) / block_rows_;
  column_blocks_ = (columns + block_columns_ - 1) / block_columns_;
  count_ = static_cast<size_t>(row_blocks_ * column_blocks_);
  for (size_t i = 0; i + 2 < nest.rank; ++i) count_ *= static_cast<size_t>(nest.loops[i].dim);
}

Block Blocks::operator[](size_t index) const {
  Block block;
  auto rest = static_cast<int64_t>(index);
  const auto take = [&rest](int64_t count) {
    const int64_t digit = rest % count;
    rest /= count;
    return digit;
  };
  const auto advance = [&block](const Nest::Loop& loop, int64_t steps) {
    for (size_t k = 0; k < Nest::kMaxOperands; ++k) block.offsets[k] += steps * loop.strides[k];
  };
  const int64_t column = take(column_blocks_) * block_columns_;
  const int64_t row = take(row_blocks_) * block_rows_;
  block.columns = std::min(block_columns_, nest_.columns().dim - column);
  block.rows = std::min(block_rows_, nest_.rows().dim - row);
  advance(nest_.columns(), column);
  advance(nest_.rows(), row);
  for (size_t i = nest_.rank - 2; i-- > 0;) advance(nest_.loops[i], take(nest_.loops[i].dim));
  return block;
}

}  // namespace furiosa::kernels
