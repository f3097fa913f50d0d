#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_COMMANDS_FLOAT_RESULT_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_COMMANDS_FLOAT_RESULT_H_

#include <array>

#include "device_emulator/native/commands/rows.h"

// What commands share that compute in float32 between DequantizeLinear and QuantizeLinear.
namespace furiosa::commands {

// The float for each byte of operand x.
inline std::array<float, 256> dequantized_bytes(const CommandReader& reader) {
  const float scale = reader.real("x_scale");
  const int32_t zero_point = reader.zero_point("x_zero_point");
  std::array<float, 256> values;
  for (int32_t byte = 0; byte < 256; ++byte) {
    values[static_cast<size_t>(byte)] = static_cast<float>(byte - zero_point) * scale;
  }
  return values;
}

// Writes float32 rows to the result y: as they are, or quantised and looked up in the table.
class FloatResult {
 public:
  // `table` where the opcode has one.
  FloatResult(const CommandReader& reader, CommandReader::Table table)
      : to_float_(reader.tensor("y").dtype == DType::kF32),
        scale_(reader.real("y_scale")),
        zero_point_(reader.zero_point("y_zero_point")),
        table_(table),
        kernels_(kernels::vector_kernels(active_isa())) {
    reader.require(!to_float_ || !table_, "a float32 result takes no table");
  }

  bool to_float() const { return to_float_; }

  // Row `values` goes to `y` (an element of the result, whatever its type), `stride` elements
  // apart; the first of them has index `first` of the last dim. `bytes` holds `count` bytes of
  // scratch.
  void store(const float* values, int64_t count, std::byte* y, int64_t stride, int64_t first,
             uint8_t* bytes) const {
    if (to_float_) {
      auto* to = reinterpret_cast<float*>(y);
      for (int64_t i = 0; i < count; ++i) to[i * stride] = values[i];
      return;
    }
    auto* to = reinterpret_cast<uint8_t*>(y);
    uint8_t* row = stride == 1 ? to : bytes;
    kernels_.quantize(values, row, static_cast<size_t>(count), scale_, zero_point_);
    if (table_) {
      const int64_t pitch = table_.per_channel ? 256 : 0;
      lookup_row(kernels_, table_.data + first * pitch, pitch, row, row, count);
    }
    for (int64_t i = 0; i < count && row != to; ++i) to[i * stride] = row[i];
  }

  // The address of the element `offset` elements from `y`.
  std::byte* at(std::byte* y, int64_t offset) const {
    return y + offset * static_cast<int64_t>(to_float_ ? sizeof(float) : sizeof(uint8_t));
  }

 private:
  bool to_float_;
  float scale_;
  int32_t zero_point_;
  CommandReader::Table table_;
  const kernels::VectorKernels& kernels_;
};

}  // namespace furiosa::commands

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_COMMANDS_FLOAT_RESULT_H_
