#include "kernels/native/dense_blocks.h"

#include <utility>

namespace furiosa::kernels {

DenseBlocks::DenseBlocks(const Nest& nest, int64_t most) : nest_(nest) {
  if (nest.elements() == 0) return;
  first_ = nest.rank - 1;
  while (first_ > 0 && inner_ * nest.loops[first_].dim <= most) inner_ *= nest.loops[first_--].dim;
  const int64_t dim = nest.loops[first_].dim;
  steps_ = std::clamp<int64_t>(most / inner_, 1, dim);
  if (inner_ == 1 && steps_ < dim && steps_ >= 64) steps_ = steps_ / 64 * 64;
  count_ = static_cast<size_t>((dim + steps_ - 1) / steps_);
  for (size_t i = 0; i < first_; ++i) count_ *= static_cast<size_t>(nest.loops[i].dim);
  for (size_t k = 0; k < Nest::kMaxOperands; ++k) {
    dense_[k] = true;
    int64_t stride = 1;
    for (size_t i = nest.rank; i-- > first_; stride *= nest.loops[i].dim) {
      dense_[k] = dense_[k] && (nest.loops[i].dim == 1 || nest.loops[i].strides[k] == stride);
    }
  }
}

DenseBlock DenseBlocks::operator[](size_t index) const {
  DenseBlock block;
  auto rest = static_cast<int64_t>(index);
  const auto advance = [&block](const Nest::Loop& loop, int64_t steps) {
    for (size_t k = 0; k < Nest::kMaxOperands; ++k) block.offsets[k] += steps * loop.strides[k];
  };
  const Nest::Loop& loop = nest_.loops[first_];
  const int64_t parts = (loop.dim + steps_ - 1) / steps_;
  const int64_t step = rest % parts * steps_;
  rest /= parts;
  advance(loop, step);
  for (size_t i = first_; i-- > 0; rest /= nest_.loops[i].dim) {
    advance(nest_.loops[i], rest % nest_.loops[i].dim);
  }
  block.steps = std::min(steps_, loop.dim - step);
  block.elements = block.steps * inner_;
  return block;
}

bool DenseBlocks::repeats(size_t operand) const {
  for (size_t i = first_; i + 1 < nest_.rank; ++i) {
    if (nest_.loops[i].dim != 1 && nest_.loops[i].strides[operand] != 0) return false;
  }
  return true;
}

bool DenseBlocks::scattered() const {
  for (size_t k = 0; k < Nest::kMaxOperands; ++k) {
    const bool pieces = nest_.columns().dim < 16 || column_stride(k) > 1;
    if (!dense_[k] && pieces && !repeats(k)) return true;
  }
  return false;
}

DenseBlocks::Walks DenseBlocks::walks(const DenseBlock& block, size_t operand, bool pack) const {
  Walks all;
  if (first_ + 1 == nest_.rank) ++all.count;  // a loop of one step in front
  int64_t packed = block.elements;
  for (size_t i = first_; i < nest_.rank; ++i) {
    const int64_t dim = i == first_ ? block.steps : nest_.loops[i].dim;
    packed /= dim;
    Walk& loop = all.loops[all.count++];
    loop = {dim, nest_.loops[i].strides[operand], packed};
    if (!pack) std::swap(loop.from, loop.to);
  }
  const auto rows = all.loops.begin() + static_cast<ptrdiff_t>(all.count) - 2;
  const auto longest = std::max_element(all.loops.begin(), rows + 1,
                                        [](const Walk& a, const Walk& b) { return a.dim < b.dim; });
  std::iter_swap(longest, rows);
  return all;
}

}  // namespace furiosa::kernels
