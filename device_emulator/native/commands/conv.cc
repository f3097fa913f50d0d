// CONV: convolution; also Gemm and MatMul with constant weights.
#include "kernels/native/conv.h"

#include <algorithm>
#include <vector>

#include "device_emulator/native/command.h"

namespace furiosa {
namespace {

constexpr int64_t kMost = int64_t{1} << 30;  // of a dim, stride, dilation or pad

class ConvReader : public CommandReader {
 public:
  using CommandReader::CommandReader;

  kernels::ConvProblem problem() const {
    kernels::ConvProblem problem;
    problem.x = image("x");
    problem.y = image("y");
    problem.epilogue = epilogue();
    if (problem.epilogue.add_residual) {
      require_dims("residual", tensor("y").dims());
      problem.residual = image("residual");
    }
    problem.window = window();
    problem.group = integer("group", 1, kMost);
    problem.x_zero_point = zero_point("x_zero_point");
    read_weights(&problem);
    problem.epilogue.bounded = kernels::is_bounded(problem);
    return problem;
  }

 private:
  kernels::ImageView image(std::string_view operand) const {
    const Tensor& found = tensor(operand, 4);
    for (const int64_t dim : found.dims()) {
      if (dim > kMost) fail("operand " + std::string(operand) + " is too large");
    }
    if (found.dim[3] > 1 && found.stride[3] != 1) {
      fail("operand " + std::string(operand) + " has channels " + std::to_string(found.stride[3]) +
           " elements apart: expected 1");
    }
    return {found.dim[0],    found.dim[1],    found.dim[2],   found.dim[3],
            found.stride[0], found.stride[1], found.stride[2]};
  }

  kernels::Window window() const {
    const Tensor& w = tensor("w", 4);
    return {w.dim[1],
            w.dim[2],
            integer("stride_h", 1, kMost),
            integer("stride_w", 1, kMost),
            integer("dilation_h", 1, kMost),
            integer("dilation_w", 1, kMost),
            integer("pad_top", 0, kMost),
            integer("pad_left", 0, kMost)};
  }

  kernels::Epilogue epilogue() const {
    kernels::Epilogue epilogue;
    epilogue.to_float = tensor("y").dtype == DType::kF32;
    epilogue.y_zero_point = zero_point("y_zero_point");
    const Table own = table("table"), last = table("residual_table");
    epilogue.table = own.data;
    epilogue.table_stride = own.per_channel ? 256 : 0;
    epilogue.add_residual = find("residual") != nullptr;
    epilogue.residual_first = flag("residual_first");
    epilogue.is_signed = flag("signed");
    epilogue.residual_scale = real("residual_scale");
    epilogue.conv_scale = real("conv_scale");
    epilogue.residual_offset = real("residual_offset");
    epilogue.residual_table = last.data;
    epilogue.residual_table_stride = last.per_channel ? 256 : 0;
    require(!epilogue.to_float || (!own && !epilogue.add_residual),
            "a float32 result takes neither table nor residual");
    require(!last || epilogue.add_residual, "residual_table without a residual");
    return epilogue;
  }

  void read_weights(kernels::ConvProblem* problem) const {
    const Tensor& w = tensor("w", 4);
    require(w.elements() > 0 && tensor("x").elements() > 0, "x or w is empty");
    const int64_t group = problem->group, channels = problem->x.channels;
    require(problem->x.batch == problem->y.batch, "x and y differ in their batch dim");
    if (w.dim[0] != problem->y.channels || w.dim[0] % group != 0 || channels % group != 0 ||
        w.dim[3] != channels / group) {
      fail("weights " + to_string(w.dims()) + " in " + std::to_string(group) +
           " groups do not fit " + std::to_string(channels) + " channels of x and " +
           std::to_string(problem->y.channels) + " of y");
    }
    if (w.dtype == DType::kI16) {
      problem->wide_weights = constant<int16_t>("w", w.elements()).data();
    } else {
      problem->weights = constant<int8_t>("w", w.elements()).data();
    }
    problem->bias = constant<int32_t>("bias", problem->y.channels).data();
    problem->multiplier = constant<float>("multiplier", problem->y.channels).data();
  }
};

class ConvCommand final : public Command {
 public:
  explicit ConvCommand(const ConvReader& reader)
      : conv_(reader.problem(), active_isa()),
        x_(reader.index("x")),
        y_(reader.index("y")),
        residual_(reader.index("residual")) {}

  void run(const RunContext& context) const override {
    const uint8_t* residual = residual_ == kAbsent ? nullptr : context.data<uint8_t>(residual_);
    conv_.run(context.data<uint8_t>(x_), context.data<void>(y_), residual, context.pool());
  }

  bool reads_constant(size_t operand) const override {
    const bool packed = 1 <= operand && operand <= 3;  // w, bias and multiplier
    return !packed;
  }

 private:
  kernels::Conv conv_;
  uint32_t x_, y_, residual_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::CONV>(const Program& program,
                                               const CommandRecord& record) {
  return std::make_unique<ConvCommand>(ConvReader(program, record));
}

}  // namespace furiosa
