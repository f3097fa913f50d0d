#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROGRAM_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROGRAM_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "device_emulator/native/constant_memory.h"

namespace furiosa {

// What is wrong with a Program or with the arguments of a run, for people to read.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline constexpr size_t kMaxRank = 8;
inline constexpr size_t kAlignment = 64;
// The operand index of an optional operand that is not there.
inline constexpr uint32_t kAbsent = 0xFFFFFFFF;

// Element types, numbered as in onnx.TensorProto.
enum class DType : uint8_t { kF32 = 1, kU8 = 2, kI8 = 3, kI16 = 5, kI32 = 6, kI64 = 7, kBool = 9 };

// Bytes of one element; 0 for a number that is no DType.
size_t element_size(DType dtype);
const char* dtype_name(DType dtype);

enum class Storage : uint8_t { kArena = 0, kConstant = 1, kInput = 2, kOutput = 3 };

enum class Opcode : uint16_t {
#define FURIOSA_OPCODE(number, NAME, operands, attributes) NAME = number,
#include "furiosa_ep/include/furiosa_opcodes.def"
#undef FURIOSA_OPCODE
};

// A strided view of a storage: dims and strides in elements, outermost dim first.
struct Tensor {
  DType dtype{};
  Storage storage{};
  uint32_t rank = 0;
  uint32_t index = 0;   // which input or output, where the storage is one
  uint64_t offset = 0;  // bytes from the start of the storage to the element with all indices zero
  std::array<int64_t, kMaxRank> dim{};
  std::array<int64_t, kMaxRank> stride{};

  std::span<const int64_t> dims() const { return {dim.data(), rank}; }
  std::span<const int64_t> strides() const { return {stride.data(), rank}; }
  int64_t elements() const;
  // Whether the elements lie row-major without gaps.
  bool contiguous() const;
  // The bytes of the storage from the first to the last one of the elements, as [begin, end).
  struct Extent {
    size_t begin;
    size_t end;
  };
  Extent extent() const;
};

// An input or output as its user sees it: row-major, with the ONNX shape.
struct Binding {
  std::string name;
  DType dtype{};
  std::vector<int64_t> dims;
  size_t size = 0;  // bytes
};

// One command: its opcode, tensor indices (the inputs, then the result) and attribute words.
struct CommandRecord {
  Opcode opcode{};
  std::span<const uint32_t> operands;
  std::span<const uint64_t> words;
  std::string_view name;  // the ONNX nodes that it came from
};

// Parts of a device, and beside it, that do one thing at a time.
enum class Engine : uint8_t { kCompute = 0, kDma = 1, kIo = 2, kHost = 3 };
inline constexpr size_t kEngines = 4;

// A device's clock, where a throttled one is so many thousandths of it.
inline constexpr uint32_t kFullClockPermille = 1000;

// What an engine does for one command, in cycles of the device's clock from the start of the run.
struct ScheduleEvent {
  uint32_t command = 0;
  Engine engine{};
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t bytes = 0;  // that it moves
};

// What a device would do in one run. Empty where nobody has modelled it.
struct Schedule {
  std::string_view target;  // the name of the device
  uint64_t clock_hz = 0;    // 0 where there are no events
  uint32_t pes = 0;         // how many work together
  uint64_t dram_bytes = 0;  // what the Program needs there
  // By start; those of one engine do not overlap.
  std::vector<ScheduleEvent> events;

  // Of compute and DMA together, from the first to the last.
  uint64_t cycles = 0;
  // The cycles in which an engine works, and the bytes that it moves; element [Engine].
  std::array<uint64_t, kEngines> busy{};
  std::array<uint64_t, kEngines> bytes{};
};

// The names that furiosa_opcodes.def, or a kernel, gives to operands and attributes of one opcode.
struct OpcodeSchema {
  struct Operand {
    std::string_view name;
    std::string_view dtypes;  // such as "u8|f32", or "any"
    bool optional = false;
    bool variadic = false;  // any number of operands, each of which may be absent

    bool accepts(DType dtype) const;
  };
  struct Attribute {
    std::string_view name;
    bool real = false;
  };
  std::string_view name;
  std::vector<Operand> operands;  // the inputs, then the result
  std::vector<Attribute> attributes;
  std::string_view variadic;  // a last attribute that takes the remaining words, or empty

  // Whether a command may have this many operands, the result included.
  bool takes(size_t count) const;
  // What operand number `position` of the `count` that a command has is; takes(count) holds.
  const Operand& operand(size_t position, size_t count) const;
};

// The schema in texts of the form of furiosa_opcodes.def, which it refers to. Checks nothing.
OpcodeSchema parse_schema(std::string_view name, std::string_view operands,
                          std::string_view attributes);

// The schema of an opcode, or nullptr for a number that is none.
const OpcodeSchema* find_schema(Opcode opcode);

// A Program whose every count, offset, length, dtype and extent has been checked: each element of
// each tensor lies inside its storage, commands have the operands that their schema asks for, and
// events of the schedule belong to commands.
// docs/program.md describes the bytes.
class Program {
 public:
  // Parses and validates `bytes`; throws Error with the reason. Copies all it needs.
  static Program parse(std::span<const std::byte> bytes);
  // As above for a Program whose constants, the last section, are in memory that it takes over.
  // `head` is what comes before them, and what the checksum is of.
  static Program parse(std::span<const std::byte> head, ConstantMemory constants);

  Program(Program&&) noexcept = default;
  Program& operator=(Program&&) noexcept = default;

  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Tensor& tensor(uint32_t index) const { return tensors_[index]; }
  const std::vector<CommandRecord>& commands() const { return commands_; }
  const std::vector<Binding>& inputs() const { return inputs_; }
  const std::vector<Binding>& outputs() const { return outputs_; }
  uint64_t arena_size() const { return arena_size_; }
  const Schedule& schedule() const { return schedule_; }

  // The constants, 64-byte aligned. They stay where they are as long as the Program lives, also
  // when it is moved.
  std::span<const std::byte> constants() const { return constants_.bytes(); }
  // Gives up `count` pages of the constants from page `first` on, of which nothing is read any
  // more.
  void release_constants(size_t first, size_t count) const { constants_.release(first, count); }
  // The first element of a tensor whose storage is the constants.
  template <class T>
  const T* constant(const Tensor& tensor) const {
    return reinterpret_cast<const T*>(constants().data() + tensor.offset);
  }

 private:
  friend class ProgramParser;
  Program() = default;

  std::vector<Tensor> tensors_;
  std::vector<uint32_t> operands_;
  std::vector<uint64_t> words_;
  std::vector<char> names_;
  std::vector<CommandRecord> commands_;
  std::vector<Binding> inputs_;
  std::vector<Binding> outputs_;
  ConstantMemory constants_;
  uint64_t arena_size_ = 0;
  Schedule schedule_;
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROGRAM_H_
