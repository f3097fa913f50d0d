#ifndef FURIOSA_KERNELS_NATIVE_MATMUL_H_
#define FURIOSA_KERNELS_NATIVE_MATMUL_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/native/gemm.h"
#include "kernels/native/isa.h"
#include "kernels/native/parallel.h"

namespace furiosa::kernels {

// A batch of matrices. Strides are in elements and may be 0 or negative.
struct MatrixView {
  static constexpr size_t kMaxBatchRank = 6;
  int64_t rows = 1, columns = 1;
  int64_t row_stride = 0, column_stride = 0;
  std::array<int64_t, kMaxBatchRank> batch_strides{};
};

// y = a x b, for each index of the batch dims. The views fit each other, all dims are at least 1.
struct MatMulProblem {
  std::array<int64_t, MatrixView::kMaxBatchRank> batch_dims{};  // outermost first
  size_t batch_rank = 0;
  MatrixView a, b, y;
  uint8_t a_zero_point = 0;
  uint8_t b_zero_point = 0;
  float multiplier = 0;
  Epilogue epilogue;  // without a residual
};

// A product of two byte matrices that are both computed at run time. Immutable: runs may overlap.
class MatMul {
 public:
  // The epilogue's table must outlive the object.
  MatMul(const MatMulProblem& problem, Isa isa);

  // Bytes of working memory that run() needs.
  size_t scratch_size() const;

  // Pointers to the first elements of the views, and scratch_size() bytes on a 64-byte boundary.
  void run(const uint8_t* a, const uint8_t* b, void* y, std::byte* scratch, ThreadPool& pool) const;

 private:
  // Rows of one matrix of y.
  struct Share {
    int64_t matrix, first_row, last_row;
  };

  int64_t offset(const MatrixView& view, int64_t matrix) const;
  void pack(const uint8_t* b, int64_t matrix, std::byte* scratch) const;
  void run_share(const Share& share, const uint8_t* a, void* y, const std::byte* scratch) const;

  MatMulProblem problem_;
  const PanelKernels& kernels_;
  int64_t matrices_;         // of y
  int64_t packed_matrices_;  // of b: 1 where all of y share it
  size_t panel_size_;        // of a full panel and its scales
  size_t panels_;            // of a matrix of b
};

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_MATMUL_H_
