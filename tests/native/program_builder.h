#ifndef FURIOSA_TESTS_NATIVE_PROGRAM_BUILDER_H_
#define FURIOSA_TESTS_NATIVE_PROGRAM_BUILDER_H_

#include <bit>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "device_emulator/native/checksum.h"
#include "device_emulator/native/program.h"

namespace furiosa::test {

using Bytes = std::vector<std::byte>;
using Dims = std::vector<int64_t>;

inline constexpr size_t kChecksumAt = 16;
inline constexpr size_t kCheckedFrom = 24;

// Makes the checksum of a Program right.
inline void seal(Bytes& program) {
  if (program.size() < kCheckedFrom) return;
  const uint64_t sum = checksum(std::span(program).subspan(kCheckedFrom));
  std::memcpy(program.data() + kChecksumAt, &sum, sizeof sum);
}

inline uint64_t word(float value) { return std::bit_cast<uint32_t>(value); }
inline uint64_t word(int64_t value) { return static_cast<uint64_t>(value); }
inline uint64_t word(int value) { return word(int64_t{value}); }

// Writes the bytes of a Program, section by section, without any check.
class ProgramBuilder {
 public:
  uint32_t input(DType dtype, const Dims& dims) {
    bind(inputs_, dtype, dims);
    return view(dtype, Storage::kInput, dims, 0, static_cast<uint32_t>(input_count_++));
  }

  uint32_t output(DType dtype, const Dims& dims) {
    bind(outputs_, dtype, dims);
    return view(dtype, Storage::kOutput, dims, 0, static_cast<uint32_t>(output_count_++));
  }

  uint32_t arena(DType dtype, const Dims& dims) {
    const uint64_t offset = arena_size_;
    arena_size_ += aligned(product(dims) * element_size(dtype));
    return view(dtype, Storage::kArena, dims, offset, 0);
  }

  template <class T>
  uint32_t constant(DType dtype, const Dims& dims, const std::vector<T>& values) {
    constants_.resize(aligned(constants_.size()));
    const uint64_t offset = constants_.size();
    append(constants_, values.data(), values.size() * sizeof(T));
    return view(dtype, Storage::kConstant, dims, offset, 0);
  }

  // A row-major view; or, with strides, any view.
  uint32_t view(DType dtype, Storage storage, const Dims& dims, uint64_t offset, uint32_t index,
                Dims strides = {}) {
    if (strides.empty()) {
      strides.assign(dims.size(), 1);
      for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
    }
    put(tensors_, static_cast<uint8_t>(dtype));
    put(tensors_, static_cast<uint8_t>(storage));
    put(tensors_, static_cast<uint8_t>(dims.size()));
    put(tensors_, uint8_t{0});
    put(tensors_, index);
    put(tensors_, offset);
    put_dims(tensors_, dims);
    put_dims(tensors_, strides);
    return tensor_count_++;
  }

  // The opcode of a kernel, as CALL has it.
  uint32_t text(std::string_view value) {
    const auto size = static_cast<int64_t>(value.size());
    return constant(DType::kU8, {size}, std::vector<char>(value.begin(), value.end()));
  }

  void command(Opcode opcode, const std::vector<uint32_t>& operands,
               const std::vector<uint64_t>& words = {}) {
    put(commands_, static_cast<uint16_t>(opcode));
    put(commands_, static_cast<uint16_t>(operands.size()));
    put(commands_, static_cast<uint32_t>(words.size()));
    put(commands_, operand_count_);
    put(commands_, word_count_);
    put_name(commands_, "node");
    for (const uint32_t operand : operands) put(operands_, operand);
    for (const uint64_t one : words) put(words_, one);
    operand_count_ += static_cast<uint32_t>(operands.size());
    word_count_ += static_cast<uint32_t>(words.size());
    ++command_count_;
  }

  // Of the last command.
  void event(Engine engine, uint64_t start, uint64_t end, uint64_t bytes = 0) {
    put(events_, command_count_ - 1);
    put(events_, uint32_t{static_cast<uint8_t>(engine)});
    put(events_, start);
    put(events_, end);
    put(events_, bytes);
    ++event_count_;
  }

  Bytes finish() const {
    Bytes program;
    append(program, "FURIOSAP", 8);
    put(program, uint32_t{2});
    put(program, uint32_t{0});
    put(program, uint64_t{0});  // checksum
    put(program, uint64_t{0});  // size
    put(program, arena_size_);
    put(program, tensor_count_);
    put(program, command_count_);
    put(program, word_count_);
    put(program, operand_count_);
    put(program, static_cast<uint32_t>(input_count_));
    put(program, static_cast<uint32_t>(output_count_));
    put(program, uint64_t{names_.size()});
    put(program, uint64_t{constants_.size()});
    const bool scheduled = event_count_ > 0;
    put(program, event_count_);
    put(program, uint32_t{scheduled});              // processing elements
    put(program, uint64_t{scheduled} * 2'000'000);  // Hz
    put(program, uint64_t{scheduled} * 4096);       // DRAM
    put(program, uint64_t{0});                      // the target's name is empty
    Bytes bindings = inputs_;
    append(bindings, outputs_.data(), outputs_.size());
    const Bytes* const sections[] = {&tensors_, &commands_, &words_, &operands_,
                                     &bindings, &events_,   &names_, &constants_};
    for (const Bytes* section : sections) {
      program.resize(aligned(program.size()));
      append(program, section->data(), section->size());
    }
    const uint64_t size = program.size();
    std::memcpy(program.data() + kCheckedFrom, &size, sizeof size);
    seal(program);
    return program;
  }

 private:
  static size_t aligned(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

  static size_t product(const Dims& dims) {
    size_t result = 1;
    for (const int64_t dim : dims) result *= static_cast<size_t>(dim);
    return result;
  }

  static void append(Bytes& to, const void* data, size_t size) {
    if (size == 0) return;
    to.resize(to.size() + size);
    std::memcpy(to.data() + to.size() - size, data, size);
  }

  template <class T>
  static void put(Bytes& to, T value) {
    append(to, &value, sizeof value);
  }

  static void put_dims(Bytes& to, const Dims& dims) {
    for (size_t i = 0; i < kMaxRank; ++i) put(to, i < dims.size() ? dims[i] : int64_t{0});
  }

  void put_name(Bytes& to, const std::string& name) {
    put(to, static_cast<uint32_t>(names_.size()));
    put(to, static_cast<uint32_t>(name.size()));
    append(names_, name.data(), name.size());
  }

  void bind(Bytes& bindings, DType dtype, const Dims& dims) {
    put(bindings, static_cast<uint8_t>(dtype));
    put(bindings, static_cast<uint8_t>(dims.size()));
    bindings.resize(bindings.size() + 6);
    put_dims(bindings, dims);
    put_name(bindings, "value");
  }

  Bytes tensors_, commands_, words_, operands_, inputs_, outputs_, events_, names_, constants_;
  uint64_t arena_size_ = 0;
  uint32_t tensor_count_ = 0, command_count_ = 0, word_count_ = 0, operand_count_ = 0;
  uint32_t event_count_ = 0;
  size_t input_count_ = 0, output_count_ = 0;
};

}  // namespace furiosa::test

#endif  // FURIOSA_TESTS_NATIVE_PROGRAM_BUILDER_H_
