// MATMUL: the product of two matrices of bytes, both computed at run time.
#include "kernels/native/matmul.h"

#include <algorithm>
#include <cmath>

#include "device_emulator/native/command.h"

namespace furiosa {
namespace {

using kernels::MatrixView;

class MatMulReader : public CommandReader {
 public:
  using CommandReader::CommandReader;

  kernels::MatMulProblem problem() const {
    const Tensor& y = tensor("y");
    require(y.rank >= 2, "expected matrices of rank 2 or more");
    kernels::MatMulProblem problem;
    problem.batch_rank = y.rank - 2;
    std::copy_n(y.dim.begin(), problem.batch_rank, problem.batch_dims.begin());
    problem.y = matrix("y", y.rank);
    problem.a = matrix("a", y.rank);
    problem.b = matrix("b", y.rank);
    for (const char* operand : {"a", "b"}) {
      if (!std::ranges::equal(tensor(operand).dims().first(problem.batch_rank),
                              y.dims().first(problem.batch_rank))) {
        fail(std::string("operand ") + operand + " is " + to_string(tensor(operand).dims()) +
             ": its batch dims are not those of the result, " + to_string(y.dims()));
      }
    }
    if (problem.a.rows != problem.y.rows || problem.a.columns != problem.b.rows ||
        problem.b.columns != problem.y.columns) {
      fail(to_string(tensor("a").dims()) + " times " + to_string(tensor("b").dims()) + " is not " +
           to_string(y.dims()));
    }
    problem.a_zero_point = zero_point("a_zero_point");
    problem.b_zero_point = zero_point("b_zero_point");
    problem.multiplier = real("multiplier");
    const Table own = table();
    problem.epilogue.to_float = y.dtype == DType::kF32;
    problem.epilogue.bounded = std::fabs(real("multiplier")) < 1;  // an accumulator fits an int32
    problem.epilogue.y_zero_point = zero_point("y_zero_point");
    problem.epilogue.table = own.data;
    problem.epilogue.table_stride = own.per_channel ? 256 : 0;
    require(!problem.epilogue.to_float || !own, "a float32 result takes no table");
    return problem;
  }

 private:
  MatrixView matrix(std::string_view operand, size_t rank) const {
    const Tensor& found = tensor(operand, rank);
    MatrixView view{found.dim[rank - 2],
                    found.dim[rank - 1],
                    found.stride[rank - 2],
                    found.stride[rank - 1],
                    {}};
    std::copy_n(found.stride.begin(), rank - 2, view.batch_strides.begin());
    return view;
  }
};

class MatMulCommand final : public Command {
 public:
  explicit MatMulCommand(const MatMulReader& reader)
      : product_(reader.problem(), active_isa()),
        a_(reader.index("a")),
        b_(reader.index("b")),
        y_(reader.index("y")) {}

  size_t scratch_size() const override { return product_.scratch_size(); }

  void run(const RunContext& context) const override {
    product_.run(context.data<uint8_t>(a_), context.data<uint8_t>(b_), context.data<void>(y_),
                 context.scratch(), context.pool());
  }

 private:
  kernels::MatMul product_;
  uint32_t a_, b_, y_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::MATMUL>(const Program& program,
                                                 const CommandRecord& record) {
  return std::make_unique<MatMulCommand>(MatMulReader(program, record));
}

}  // namespace furiosa
