#include "kernels/native/matmul.h"

#include <algorithm>
#include <cstring>

#include "kernels/native/aligned.h"

namespace furiosa::kernels {
namespace {

constexpr int64_t kBlockRows = 112;          // rows of y that are computed at once
constexpr int64_t kThreadWork = 400'000;     // multiply-adds that are worth a thread of their own
constexpr int64_t kThreadBytes = 32 * 1024;  // likewise, bytes to pack

constexpr size_t round_up(size_t size) { return (size + 63) / 64 * 64; }

uint32_t sum(const uint8_t* bytes, int64_t count) {
  uint32_t total = 0;
  for (int64_t i = 0; i < count; ++i) total += bytes[i];
  return total;
}

}  // namespace

MatMul::MatMul(const MatMulProblem& problem, Isa isa)
    : problem_(problem), kernels_(gemm_kernels(isa)), matrices_(1), packed_matrices_(1) {
  bool shared = true;
  for (size_t i = 0; i < problem.batch_rank; ++i) {
    matrices_ *= problem.batch_dims[i];
    shared = shared && (problem.batch_dims[i] == 1 || problem.b.batch_strides[i] == 0);
  }
  if (!shared) packed_matrices_ = matrices_;
  const size_t depth = static_cast<size_t>(problem.b.rows);
  panel_size_ = sizeof(PanelScales) + round_up(kernels_.panel_size(1, depth, kPanelColumns));
  panels_ = (static_cast<size_t>(problem.b.columns) + kPanelColumns - 1) / kPanelColumns;
}

size_t MatMul::scratch_size() const {
  return static_cast<size_t>(packed_matrices_) * panels_ * panel_size_;
}

int64_t MatMul::offset(const MatrixView& view, int64_t matrix) const {
  int64_t offset = 0;
  for (size_t i = problem_.batch_rank; i-- > 0; matrix /= problem_.batch_dims[i]) {
    offset += matrix % problem_.batch_dims[i] * view.batch_strides[i];
  }
  return offset;
}

// Packs a matrix of b: its panels, each behind its scales. Weights are int8, so b is taken as
// (b - 128) with the zero point b_zero_point - 128. Then
//   sum((a - za) * (b - zb)) = sum(a * b) - za * sum(b) + depth * za * zb - zb * sum(a),
// where all but the last term, which differs between rows, go into the bias.
void MatMul::pack(const uint8_t* b, int64_t matrix, std::byte* scratch) const {
  const MatrixView& view = problem_.b;
  const size_t depth = static_cast<size_t>(view.rows), all = static_cast<size_t>(view.columns);
  const uint32_t za = problem_.a_zero_point;
  const uint32_t zb = static_cast<uint32_t>(problem_.b_zero_point) - 128u;
  std::byte* to = scratch + static_cast<size_t>(matrix) * panels_ * panel_size_;
  b += offset(view, matrix);
  for (size_t first = 0; first < all; first += kPanelColumns, to += panel_size_) {
    const size_t columns = std::min(kPanelColumns, all - first);
    const PanelSource source{b + static_cast<ptrdiff_t>(first) * view.column_stride,
                             0,
                             view.row_stride,
                             view.column_stride,
                             1,
                             depth,
                             columns,
                             0x80};
    int32_t sums[kPanelColumns];
    kernels_.pack(source, reinterpret_cast<uint8_t*>(to) + sizeof(PanelScales), sums);
    PanelScales scales{};
    for (size_t column = 0; column < columns; ++column) {
      const size_t slot = kernels_.slot(column, columns);
      const uint32_t bias = static_cast<uint32_t>(depth) * za * zb;
      scales.bias[slot] = static_cast<int32_t>(bias - za * static_cast<uint32_t>(sums[column]));
      scales.multiplier[slot] = problem_.multiplier;
    }
    std::memcpy(to, &scales, sizeof(scales));
  }
}

void MatMul::run(const uint8_t* a, const uint8_t* b, void* y, std::byte* scratch,
                 ThreadPool& pool) const {
  const int64_t rows = problem_.a.rows, threads = static_cast<int64_t>(pool.concurrency());
  const int64_t all = rows * matrices_;
  if (all == 0 || problem_.y.columns == 0) return;
  const int64_t bytes = std::max<int64_t>(1, problem_.b.rows * problem_.b.columns);
  parallel_ranges(pool, static_cast<size_t>(packed_matrices_),
                  static_cast<size_t>(std::max<int64_t>(1, kThreadBytes / bytes)),
                  [&](size_t first, size_t last) {
                    for (; first < last; ++first) pack(b, static_cast<int64_t>(first), scratch);
                  });
  // All rows of all matrices, in as many ranges as are worth a thread.
  const int64_t tasks = std::clamp<int64_t>(all * bytes / kThreadWork, 1, std::min(threads, all));
  pool.parallel_for(static_cast<size_t>(tasks), [&](size_t task) {
    const int64_t last = all * (static_cast<int64_t>(task) + 1) / tasks;
    for (int64_t first = all * static_cast<int64_t>(task) / tasks; first < last;) {
      const int64_t matrix = first / rows, row = first % rows;
      const int64_t end = std::min({rows, row + kBlockRows, row + last - first});
      run_share({matrix, row, end}, a, y, scratch);
      first += end - row;
    }
  });
}

void MatMul::run_share(const Share& share, const uint8_t* a, void* y,
                       const std::byte* scratch) const {
  const MatrixView& left = problem_.a;
  const MatrixView& right = problem_.y;
  const int64_t depth = left.columns, count = share.last_row - share.first_row;
  const size_t rows = static_cast<size_t>(count), all = static_cast<size_t>(right.columns);
  const size_t element = problem_.epilogue.to_float ? sizeof(float) : 1;
  const bool copy_a = depth > 1 && left.column_stride != 1;
  const bool copy_y = all > 1 && right.column_stride != 1;

  // Addresses of the rows of a and y, what is added to each, and dense copies where needed.
  const size_t pitch = rows + kSpareRows;
  const size_t addresses = 2 * pitch * sizeof(void*), sums = pitch * sizeof(int32_t);
  const size_t copied_a = copy_a ? rows * static_cast<size_t>(depth) : 0;
  const size_t copied_y = (copy_y ? rows : 0) * all * element, spare = all * element;
  uint8_t* memory =
      thread_scratch(round_up(addresses) + round_up(sums) + round_up(copied_a) + copied_y + spare);
  auto** from = reinterpret_cast<const uint8_t**>(memory);
  auto** to = reinterpret_cast<void**>(memory) + pitch;
  auto* row_bias = reinterpret_cast<int32_t*>(memory + round_up(addresses));
  uint8_t* dense_a = memory + round_up(addresses) + round_up(sums);
  uint8_t* dense_y = dense_a + round_up(copied_a);

  const uint32_t zb = static_cast<uint32_t>(problem_.b_zero_point) - 128u;
  a += offset(left, share.matrix) + share.first_row * left.row_stride;
  const int64_t first_y = offset(right, share.matrix) + share.first_row * right.row_stride;
  auto* own_y = static_cast<uint8_t*>(y) + first_y * static_cast<int64_t>(element);
  const int64_t y_row = right.row_stride * static_cast<int64_t>(element);
  for (int64_t r = 0; r < count; ++r) {
    const uint8_t* row = a + r * left.row_stride;
    if (copy_a) {
      uint8_t* dense = dense_a + r * depth;
      for (int64_t k = 0; k < depth; ++k) dense[k] = row[k * left.column_stride];
      row = dense;
    }
    from[r] = row;
    to[r] = copy_y ? dense_y + static_cast<size_t>(r) * all * element : own_y + r * y_row;
    if (zb != 0) row_bias[r] = static_cast<int32_t>(0u - zb * sum(row, depth));
  }

  for (size_t r = rows; r < pitch; ++r) {
    from[r] = from[0];
    to[r] = dense_y + copied_y;
    row_bias[r] = 0;
  }

  PanelBlock block{};
  block.rows = from;
  block.row_pitch = pitch;
  block.row_count = rows;
  block.row_bias = zb == 0 ? nullptr : row_bias;
  block.taps = 1;
  block.depth = static_cast<size_t>(depth);
  block.y = to;
  block.epilogue = &problem_.epilogue;
  const std::byte* panel =
      scratch + static_cast<size_t>(share.matrix % packed_matrices_) * panels_ * panel_size_;
  for (size_t first = 0; first < all; first += kPanelColumns, panel += panel_size_) {
    block.scales = reinterpret_cast<const PanelScales*>(panel);
    block.panel = reinterpret_cast<const uint8_t*>(panel) + sizeof(PanelScales);
    block.first_column = first;
    block.columns = std::min(kPanelColumns, all - first);
    kernels_.run(block);
  }
  if (!copy_y) return;
  for (int64_t r = 0; r < count; ++r) {
    for (size_t column = 0; column < all; ++column) {
      const int64_t step = static_cast<int64_t>(column * element) * right.column_stride;
      std::memcpy(own_y + r * y_row + step,
                  dense_y + (static_cast<size_t>(r) * all + column) * element, element);
    }
  }
}

}  // namespace furiosa::kernels
