// QUANTIZE and DEQUANTIZE: between float and bytes, also from NCHW to NHWC and back.

#include "device_emulator/native/command.h"
#include "kernels/native/nest.h"
#include "kernels/native/vector_kernels.h"

namespace furiosa {
namespace {

constexpr size_t kX = 0, kY = 1;
constexpr int64_t kGrain = 64 * 1024;

// What both have: the views, their loops and the quantisation.
struct Conversion {
  explicit Conversion(const CommandReader& reader)
      : x(reader.index("x")),
        y(reader.index("y")),
        scale(reader.real("scale")),
        zero_point(reader.zero_point("zero_point")),
        kernels(kernels::vector_kernels(active_isa())) {
    const Tensor& result = reader.tensor("y");
    reader.require_dims("x", result.dims());
    nest = kernels::make_transposable_nest(result.dims(),
                                           {reader.tensor("x").strides(), result.strides()});
  }

  // Converts the rows of a block one by one: kernel(x, y, count, scale, zero point).
  template <class From, class To, class Kernel>
  void rows(const From* from, To* to, const kernels::Block& block, Kernel kernel) const {
    From loaded[kernels::kBlockElements];
    To result[kernels::kBlockElements];
    const int64_t x_step = nest.columns().strides[kX], y_step = nest.columns().strides[kY];
    for (int64_t r = 0; r < block.rows; ++r) {
      const From* row = kernels::load_row(from, x_step, block.columns, loaded);
      To* target = kernels::result_row(to, y_step, result);
      kernel(row, target, static_cast<size_t>(block.columns), scale, zero_point);
      kernels::store_row(target, to, y_step, block.columns);
      from += nest.rows().strides[kX];
      to += nest.rows().strides[kY];
    }
  }

  uint32_t x, y;
  float scale;
  int32_t zero_point;
  const kernels::VectorKernels& kernels;
  kernels::Nest nest;
};

class Quantize final : public Command {
 public:
  explicit Quantize(const CommandReader& reader) : conversion_(reader) {}

  void run(const RunContext& context) const override {
    const Conversion& c = conversion_;
    const float* x = context.data<float>(c.x);
    uint8_t* y = context.data<uint8_t>(c.y);
    kernels::for_each_block(c.nest, context.pool(), kGrain, [&](const kernels::Block& block) {
      const float* from = x + block.offsets[kX];
      uint8_t* to = y + block.offsets[kY];
      if (c.nest.transposed) {
        transpose(from, to, block);
      } else {
        c.rows(from, to, block, c.kernels.quantize);
      }
    });
  }

 private:
  void transpose(const float* x, uint8_t* y, const kernels::Block& block) const {
    const Conversion& c = conversion_;
    uint8_t tile[kernels::kBlockElements];
    const auto rows = static_cast<size_t>(block.rows);
    const auto columns = static_cast<size_t>(block.columns);
    const int64_t plane = c.nest.columns().strides[kX], pixel = c.nest.rows().strides[kY];
    if (c.kernels.quantize_three != nullptr && columns == 3 && pixel == 3) {
      c.kernels.quantize_three(x, plane, y, rows, c.scale, c.zero_point);
      return;
    }
    for (size_t k = 0; k < columns; ++k, x += plane) {
      c.kernels.quantize(x, tile + k * rows, rows, c.scale, c.zero_point);
    }
    c.kernels.transpose(tile, block.rows, y, pixel, rows, columns);
  }

  Conversion conversion_;
};

class Dequantize final : public Command {
 public:
  explicit Dequantize(const CommandReader& reader) : conversion_(reader) {}

  void run(const RunContext& context) const override {
    const Conversion& c = conversion_;
    const uint8_t* x = context.data<uint8_t>(c.x);
    float* y = context.data<float>(c.y);
    kernels::for_each_block(c.nest, context.pool(), kGrain, [&](const kernels::Block& block) {
      const uint8_t* from = x + block.offsets[kX];
      float* to = y + block.offsets[kY];
      if (c.nest.transposed) {
        transpose(from, to, block);
      } else {
        c.rows(from, to, block, c.kernels.dequantize);
      }
    });
  }

 private:
  void transpose(const uint8_t* x, float* y, const kernels::Block& block) const {
    const Conversion& c = conversion_;
    uint8_t tile[kernels::kBlockElements];
    const auto rows = static_cast<size_t>(block.rows);
    const auto columns = static_cast<size_t>(block.columns);
    c.kernels.transpose(x, c.nest.columns().strides[kX], tile, block.columns, rows, columns);
    for (size_t r = 0; r < rows; ++r, y += c.nest.rows().strides[kY]) {
      c.kernels.dequantize(tile + r * columns, y, columns, c.scale, c.zero_point);
    }
  }

  Conversion conversion_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::QUANTIZE>(const Program& program,
                                                   const CommandRecord& record) {
  return std::make_unique<Quantize>(CommandReader(program, record));
}

template <>
std::unique_ptr<Command> prepare<Opcode::DEQUANTIZE>(const Program& program,
                                                     const CommandRecord& record) {
  return std::make_unique<Dequantize>(CommandReader(program, record));
}

}  // namespace furiosa
