#ifndef FURIOSA_KERNELS_NATIVE_DENSE_BLOCKS_H_
#define FURIOSA_KERNELS_NATIVE_DENSE_BLOCKS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "kernels/native/nest.h"
#include "kernels/native/parallel.h"

namespace furiosa::kernels {

// Some steps of one loop of a nest, with all of the loops inside it. `offsets` are those of its
// first element, per operand.
struct DenseBlock {
  std::array<int64_t, Nest::kMaxOperands> offsets{};
  int64_t steps = 0;
  int64_t elements = 0;
};

// How a nest is cut into blocks of at most `most` elements that are worked on as if they lay one
// after the other, in the order of the loops. Operands whose elements do not are packed before, or
// unpacked afterwards. The nest must outlive it.
class DenseBlocks {
 public:
  // A loop over two operands.
  struct Walk {
    int64_t dim = 1;
    int64_t from = 0, to = 0;  // strides
  };

  DenseBlocks(const Nest& nest, int64_t most);

  size_t count() const { return count_; }
  int64_t elements() const { return steps_ * inner_; }  // of a whole block
  DenseBlock operator[](size_t index) const;

  // Whether the elements of an operand lie one after the other in each block.
  bool dense(size_t operand) const { return dense_[operand]; }
  // Whether they are the same for every step of all loops but the innermost one.
  bool repeats(size_t operand) const;
  // Whether some operand has its elements in pieces of less than 16.
  bool scattered() const;
  // The stride of the innermost loop, and its steps.
  int64_t column_stride(size_t operand) const { return nest_.columns().strides[operand]; }
  int64_t columns(const DenseBlock& block) const {
    return first_ + 1 == nest_.rank ? block.steps : nest_.columns().dim;
  }

  // Copies the elements of an operand of a block from `x` on to `packed`, one after the other.
  template <class T>
  void pack(const DenseBlock& block, size_t operand, const T* x, T* packed) const {
    move(walks(block, operand, /*pack=*/true), x, packed);
  }
  // The inverse.
  template <class T>
  void unpack(const DenseBlock& block, size_t operand, const T* packed, T* y) const {
    move(walks(block, operand, /*pack=*/false), packed, y);
  }
  // Calls f(offset, packed) for every time that the innermost loop runs in a block: where it begins
  // in an operand and among the packed elements.
  template <class F>
  void for_each_row(const DenseBlock& block, size_t operand, F&& f) const {
    const Walks all = walks(block, operand, /*pack=*/true);
    walk(std::span(all.loops).first(all.count - 1), 0, 0, f);
  }

 private:
  // The loops of a block, the innermost one last; before it the longest of the others.
  struct Walks {
    std::array<Walk, Nest::kMaxRank> loops;
    size_t count = 0;
  };
  Walks walks(const DenseBlock& block, size_t operand, bool pack) const;

  template <class F>
  static void walk(std::span<const Walk> loops, int64_t from, int64_t to, F&& f) {
    if (loops.empty()) return f(from, to);
    for (int64_t i = 0; i < loops[0].dim; ++i, from += loops[0].from, to += loops[0].to) {
      walk(loops.subspan(1), from, to, f);
    }
  }

  template <class T>
  static void move(const Walks& all, const T* x, T* y) {
    const Walk& rows = all.loops[all.count - 2];
    const Walk& columns = all.loops[all.count - 1];
    walk(std::span(all.loops).first(all.count - 2), 0, 0,
         [&](int64_t from, int64_t to) { move_rows(rows, columns, x + from, y + to); });
  }

  template <class T>
  static void move_rows(const Walk& rows, const Walk& columns, const T* x, T* y) {
    const int64_t count = columns.dim;
    const auto each = [&](auto&& f) {
      for (int64_t r = 0; r < rows.dim; ++r, x += rows.from, y += rows.to) f(x, y);
    };
    const bool adjacent = columns.from == 1 && columns.to == 1;
    if (adjacent && count == 2) {  // a call takes longer than to move a few
      each([](const T* from, T* to) { std::memcpy(to, from, 2 * sizeof(T)); });
    } else if (adjacent && count == 4) {
      each([](const T* from, T* to) { std::memcpy(to, from, 4 * sizeof(T)); });
    } else if (adjacent && count > 8) {
      each([&](const T* from, T* to) {
        std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
      });
    } else {
      each([&](const T* from, T* to) {
        for (int64_t i = 0; i < count; ++i) to[i * columns.to] = from[i * columns.from];
      });
    }
  }

  const Nest& nest_;
  size_t first_ = 0;   // the outermost loop of a block
  int64_t steps_ = 0;  // of it in a whole block
  int64_t inner_ = 1;  // elements of one step
  size_t count_ = 0;
  std::array<bool, Nest::kMaxOperands> dense_{};
};

// The elements of an operand of one block after the other. What a block shares with the one before
// is packed once.
template <class T>
class DenseOperand {
 public:
  // `buffer` has room for a block; `x` is the element with all indices zero.
  DenseOperand(const DenseBlocks& blocks, size_t operand, const T* x, T* buffer)
      : blocks_(blocks), operand_(operand), x_(x), buffer_(buffer) {}

  const T* operator()(const DenseBlock& block) {
    const T* from = x_ + block.offsets[operand_];
    if (blocks_.dense(operand_)) return from;
    if (from != packed_ || block.steps > steps_) {
      blocks_.pack(block, operand_, from, buffer_);
      packed_ = from;
      steps_ = block.steps;
    }
    return buffer_;
  }

 private:
  const DenseBlocks& blocks_;
  size_t operand_;
  const T* x_;
  T* buffer_;
  const T* packed_ = nullptr;
  int64_t steps_ = 0;
};

// Calls f(begin, end) for ranges of blocks, on the pool where there are at least two times `grain`
// elements. Elements that are packed one by one or by a few take several times as long as others.
template <class F>
void for_block_ranges(const DenseBlocks& blocks, ThreadPool& pool, int64_t grain, F&& f) {
  if (blocks.count() == 0) return;
  if (blocks.scattered()) grain /= 8;
  const int64_t grain_blocks = std::max<int64_t>(1, grain / blocks.elements());
  parallel_ranges(pool, blocks.count(), static_cast<size_t>(grain_blocks), f);
}

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_DENSE_BLOCKS_H_
