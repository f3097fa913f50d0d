// CONV_TRANSPOSE: transposed convolution in float32.
#include "kernels/native/conv_transpose.h"

#include <algorithm>

#include "device_emulator/native/commands/float_result.h"
#include "kernels/native/conv_transpose_patches.h"

namespace furiosa {
namespace {

constexpr int64_t kMost = 1 << 20;      // of a dim, stride, dilation or pad
constexpr int64_t kGrain = 256 * 1024;  // multiply-adds for some 10 us

// Rows or blocks for some 10 us, where each takes so many multiply-adds.
size_t grain(int64_t cost) {
  return static_cast<size_t>(std::max<int64_t>(1, kGrain / std::max<int64_t>(1, cost)));
}

kernels::ImageView image(const CommandReader& reader, std::string_view operand) {
  const Tensor& found = reader.tensor(operand, 4);
  for (const int64_t dim : found.dims()) {
    if (dim > kMost) reader.fail("operand " + std::string(operand) + " is too large");
  }
  if (commands::effective_stride(found, 3) != 1) {
    reader.fail("operand " + std::string(operand) + " has channels " +
                std::to_string(found.stride[3]) + " elements apart: expected 1");
  }
  return {found.dim[0],    found.dim[1],    found.dim[2],   found.dim[3],
          found.stride[0], found.stride[1], found.stride[2]};
}

kernels::ConvTransposeProblem read_problem(const CommandReader& reader) {
  const Tensor& w = reader.tensor("w", 4);
  kernels::ConvTransposeProblem problem;
  problem.x = image(reader, "x");
  problem.y = image(reader, "y");
  problem.window = {w.dim[1],
                    w.dim[2],
                    reader.integer("stride_h", 1, kMost),
                    reader.integer("stride_w", 1, kMost),
                    reader.integer("dilation_h", 1, kMost),
                    reader.integer("dilation_w", 1, kMost),
                    reader.integer("pad_top", 0, kMost),
                    reader.integer("pad_left", 0, kMost)};
  problem.group = reader.integer("group", 1, kMost);
  problem.block = reader.integer("block", 1, kMost);
  problem.x_scale = reader.real("x_scale");
  problem.x_zero_point = reader.zero_point("x_zero_point");
  const int64_t channels = problem.x.channels, results = problem.y.channels;
  reader.require(problem.x.batch == problem.y.batch, "x and y differ in batch");
  reader.require(channels > 0 && channels % problem.group == 0 && results % problem.group == 0,
                 "the channels of x and y are no multiples of group");
  const int64_t dims[] = {channels, w.dim[1], w.dim[2], results / problem.group};
  reader.require_dims("w", dims);
  reader.require(w.dim[1] <= kMost && w.dim[2] <= kMost && w.elements() > 0, "w is empty");
  problem.weights = reader.constant<float>("w", w.elements());
  problem.bias = reader.find_constant<float>("bias", results);
  return problem;
}

class ConvTranspose final : public Command {
 public:
  ConvTranspose(const CommandReader& reader, const kernels::ConvTransposeProblem& problem)
      : x_index_(reader.index("x")),
        y_index_(reader.index("y")),
        x_(reader.tensor("x")),
        y_(reader.tensor("y")),
        kernel_(problem),
        table_(reader.table()),
        result_(reader, table_.per_channel ? CommandReader::Table() : table_),
        kernels_(kernels::vector_kernels(active_isa())) {
    reader.require(!table_ || !result_.to_float(), "a float32 result takes no table");
  }

  void run(const RunContext& context) const override {
    if (y_.elements() == 0) return;
    const auto* x = context.data<uint8_t>(x_index_);
    auto* y = context.data<std::byte>(y_index_);
    const auto rows = static_cast<size_t>(y_.dim[0] * y_.dim[1]);
    parallel_ranges(context.pool(), rows, grain(kernel_.row_cost()), [&](size_t begin, size_t end) {
      const size_t floats = kernel_.scratch_size();
      const auto bytes = static_cast<size_t>(y_.dim[2] * y_.dim[3]);
      auto* scratch = reinterpret_cast<std::byte*>(kernels::thread_scratch(floats + bytes));
      for (size_t i = begin; i < end; ++i) {
        const int64_t n = static_cast<int64_t>(i) / y_.dim[1];
        const int64_t row = static_cast<int64_t>(i) % y_.dim[1];
        const float* values = kernel_.row(x + n * x_.stride[0], row, scratch);
        store(values, result_.at(y, n * y_.stride[0] + row * y_.stride[1]),
              reinterpret_cast<uint8_t*>(scratch) + floats);
      }
    });
  }

 private:
  // Writes a row of the result; `bytes` holds as many as the row has elements.
  void store(const float* values, std::byte* y, uint8_t* bytes) const {
    const int64_t pixels = y_.dim[2], channels = y_.dim[3];
    if (pixels == 1 || y_.stride[2] == channels) {
      result_.store(values, pixels * channels, y, 1, 0, bytes);
    } else {
      for (int64_t i = 0; i < pixels; ++i) {
        result_.store(values + i * channels, channels, result_.at(y, i * y_.stride[2]), 1, 0,
                      bytes);
      }
    }
    if (table_.per_channel) {
      commands::apply_table(kernels_, table_,
                            {reinterpret_cast<uint8_t*>(y), y_.stride[2], 1, pixels, channels});
    }
  }

  uint32_t x_index_, y_index_;
  const Tensor& x_;
  const Tensor& y_;
  kernels::ConvTranspose kernel_;
  CommandReader::Table table_;
  commands::FloatResult result_;
  const kernels::VectorKernels& kernels_;
};

class Patches final : public Command {
 public:
  Patches(const CommandReader& reader, const kernels::ConvTransposeProblem& problem,
          const kernels::ByteResult& result)
      : x_index_(reader.index("x")), y_index_(reader.index("y")), kernel_(problem, result) {}

  void run(const RunContext& context) const override {
    const auto* x = context.data<uint8_t>(x_index_);
    auto* y = context.data<uint8_t>(y_index_);
    const auto blocks = static_cast<size_t>(kernel_.blocks());
    parallel_ranges(context.pool(), blocks, grain(kernel_.block_cost()),
                    [&](size_t begin, size_t end) {
                      uint8_t* scratch = kernels::thread_scratch(kernel_.scratch_size());
                      kernel_.run(x, y, static_cast<int64_t>(begin), static_cast<int64_t>(end),
                                  reinterpret_cast<std::byte*>(scratch));
                    });
  }

 private:
  uint32_t x_index_, y_index_;
  kernels::ConvTransposePatches kernel_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::CONV_TRANSPOSE>(const Program& program,
                                                         const CommandRecord& record) {
  const CommandReader reader(program, record);
  const kernels::ConvTransposeProblem problem = read_problem(reader);
  const CommandReader::Table table = reader.table();
  const kernels::ByteResult result = {.scale = reader.real("y_scale"),
                                      .zero_point = reader.zero_point("y_zero_point"),
                                      .tables = table.data,
                                      .table_stride = table.per_channel ? 256u : 0u};
  const bool to_bytes = reader.tensor("y").dtype == DType::kU8;
  if (to_bytes && kernels::ConvTransposePatches::fits(problem, result)) {
    return std::make_unique<Patches>(reader, problem, result);
  }
  return std::make_unique<ConvTranspose>(reader, problem);
}

}  // namespace furiosa
