// FILL: one value for every element.

#include <cstring>

#include "device_emulator/native/command.h"
#include "kernels/native/nest.h"

namespace furiosa {
namespace {

constexpr int64_t kGrain = 256 * 1024;

class Fill final : public Command {
 public:
  explicit Fill(const CommandReader& reader)
      : y_(reader.index("y")), value_(static_cast<uint8_t>(reader.integer("value", 0, 255))) {
    const Tensor& y = reader.tensor("y");
    nest_ = kernels::make_nest(y.dims(), {y.strides()});
  }

  void run(const RunContext& context) const override {
    uint8_t* y = context.data<uint8_t>(y_);
    const int64_t step = nest_.columns().strides[0];
    kernels::for_each_block(nest_, context.pool(), kGrain, [&](const kernels::Block& block) {
      uint8_t* row = y + block.offsets[0];
      for (int64_t r = 0; r < block.rows; ++r, row += nest_.rows().strides[0]) {
        if (step == 1) {
          std::memset(row, value_, static_cast<size_t>(block.columns));
        } else {
          for (int64_t i = 0; i < block.columns; ++i) row[i * step] = value_;
        }
      }
    });
  }

 private:
  uint32_t y_;
  uint8_t value_;
  kernels::Nest nest_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::FILL>(const Program& program,
                                               const CommandRecord& record) {
  return std::make_unique<Fill>(CommandReader(program, record));
}

}  // namespace furiosa
