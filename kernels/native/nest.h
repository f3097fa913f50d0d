#ifndef FURIOSA_KERNELS_NATIVE_NEST_H_
#define FURIOSA_KERNELS_NATIVE_NEST_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "kernels/native/parallel.h"

namespace furiosa::kernels {

// The loops over the elements of several strided operands with the same dims, outermost first,
// reduced to as few as the strides allow and ordered for the last operand, the result. There are
// always at least two.
struct Nest {
  static constexpr size_t kMaxRank = 8;
  static constexpr size_t kMaxOperands = 6;

  struct Loop {
    int64_t dim = 1;
    std::array<int64_t, kMaxOperands> strides{};  // per operand, in elements
  };

  size_t rank = 2;
  std::array<Loop, kMaxRank> loops;
  // Whether the two inner loops transpose: rows contiguous in operand 0, columns in the result.
  bool transposed = false;

  const Loop& rows() const { return loops[rank - 2]; }
  const Loop& columns() const { return loops[rank - 1]; }
  int64_t elements() const;
};

// The nest for operands with these strides, the result's last.
Nest make_nest(std::span<const int64_t> dims,
               std::initializer_list<std::span<const int64_t>> strides);

// As make_nest; where operand 0 and the result are contiguous along different dims, those become
// the two inner loops and `transposed` is set.
Nest make_transposable_nest(std::span<const int64_t> dims,
                            std::initializer_list<std::span<const int64_t>> strides);

// The largest number of elements in a block.
inline constexpr int64_t kBlockElements = 16384;

// A part of the two inner loops: `offsets` are those of its first element, per operand.
struct Block {
  std::array<int64_t, Nest::kMaxOperands> offsets{};
  int64_t rows = 0;
  int64_t columns = 0;
};

// How a nest is cut into blocks of at most kBlockElements.
class Blocks {
 public:
  explicit Blocks(const Nest& nest);

  size_t count() const { return count_; }
  int64_t elements() const { return block_rows_ * block_columns_; }  // of a whole block
  Block operator[](size_t index) const;

 private:
  const Nest& nest_;
  int64_t block_rows_ = 1;
  int64_t block_columns_ = 1;
  int64_t row_blocks_ = 0;
  int64_t column_blocks_ = 0;
  size_t count_ = 0;
};

// Calls f(block) for every block of the nest, on the pool where there are at least two times
// `grain` elements.
template <class F>
void for_each_block(const Nest& nest, ThreadPool& pool, int64_t grain, F&& f) {
  const Blocks blocks(nest);
  if (blocks.count() == 0) return;
  const int64_t grain_blocks = std::max<int64_t>(1, grain / blocks.elements());
  parallel_ranges(pool, blocks.count(), static_cast<size_t>(grain_blocks),
                  [&](size_t begin, size_t end) {
                    for (size_t i = begin; i < end; ++i) f(blocks[i]);
                  });
}

// `count` elements from `x` on as a contiguous row: `x` itself, or `buffer` filled with them.
template <class T>
const T* load_row(const T* x, int64_t stride, int64_t count, T* buffer) {
  if (stride == 1) return x;
  for (int64_t i = 0; i < count; ++i) buffer[i] = x[i * stride];
  return buffer;
}

// Where to write a row that store_row() brings to `y`: `y` itself or `buffer`.
template <class T>
T* result_row(T* y, int64_t stride, T* buffer) {
  return stride == 1 ? y : buffer;
}

template <class T>
void store_row(const T* row, T* y, int64_t stride, int64_t count) {
  if (row == y) return;
  for (int64_t i = 0; i < count; ++i) y[i * stride] = row[i];
}

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_NEST_H_
