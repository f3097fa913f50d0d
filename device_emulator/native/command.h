#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_COMMAND_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_COMMAND_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "device_emulator/native/program.h"
#include "kernels/native/parallel.h"

namespace furiosa {

// What a command sees of the run that it is part of.
class RunContext {
 public:
  struct Address {
    uint32_t base;  // into bases
    uint64_t offset;
  };

  RunContext(const Address* addresses, std::byte* const* bases, std::byte* scratch,
             ThreadPool& pool)
      : addresses_(addresses), bases_(bases), scratch_(scratch), pool_(pool) {}

  // The element with all indices zero of a tensor. `tensor` must not be kAbsent.
  template <class T>
  T* data(uint32_t tensor) const {
    const Address address = addresses_[tensor];
    return reinterpret_cast<T*>(bases_[address.base] + address.offset);
  }

  // Command::scratch_size() bytes, 64-byte aligned, of this run alone. Contents are unspecified.
  std::byte* scratch() const { return scratch_; }

  ThreadPool& pool() const { return pool_; }

 private:
  const Address* addresses_;
  std::byte* const* bases_;
  std::byte* scratch_;
  ThreadPool& pool_;
};

// One prepared command. Immutable: runs may overlap.
class Command {
 public:
  virtual ~Command() = default;

  virtual void run(const RunContext& context) const = 0;

  // Whether run() reads operand number `operand` where it is a constant. The memory of constants
  // that no command reads, because their weights are packed, is given back.
  virtual bool reads_constant(size_t operand) const {
    (void)operand;
    return true;
  }

  // Bytes of working memory that run() needs beside the arena.
  virtual size_t scratch_size() const { return 0; }
};

// Prepares a command: checks shapes and attributes (throws Error), decodes, packs constants. The
// Program outlives the command, so pointers into its constants stay valid, but for the constants
// that reads_constant() denies.
using Prepare = std::unique_ptr<Command> (*)(const Program&, const CommandRecord&);

// One specialisation per opcode, in commands/<opcode>.cc:
//   template <> std::unique_ptr<Command> prepare<Opcode::ADD>(const Program& program,
//                                                             const CommandRecord& record) {...}
template <Opcode>
std::unique_ptr<Command> prepare(const Program& program, const CommandRecord& record);

#define FURIOSA_OPCODE(number, NAME, operands, attributes) \
  template <>                                              \
  std::unique_ptr<Command> prepare<Opcode::NAME>(const Program&, const CommandRecord&);
#include "furiosa_ep/include/furiosa_opcodes.def"
#undef FURIOSA_OPCODE

// Reads the operands and attributes of a command by the names in furiosa_opcodes.def. For use in
// prepare; a name that the schema lacks is a mistake of the caller (std::logic_error).
class CommandReader {
 public:
  CommandReader(const Program& program, const CommandRecord& record);

  // Index of an operand ("x", "table", "y"), for RunContext::data; kAbsent where it is absent.
  uint32_t index(std::string_view operand) const;
  // The operand's tensor, or nullptr where it is absent.
  const Tensor* find(std::string_view operand) const;
  // The operand's tensor; it must be present, as all that are not optional are.
  const Tensor& tensor(std::string_view operand) const;
  // As tensor(), of rank `rank`.
  const Tensor& tensor(std::string_view operand, size_t rank) const;
  // The elements of a constant, row-major tensor with `count` elements.
  template <class T>
  std::span<const T> constant(std::string_view operand, int64_t count) const {
    const Tensor& found = checked_constant(operand, count);
    return {program_.constant<T>(found), static_cast<size_t>(count)};
  }
  // The constant elements of `operand` where it is present, otherwise an empty span.
  template <class T>
  std::span<const T> find_constant(std::string_view operand, int64_t count) const {
    return find(operand) == nullptr ? std::span<const T>() : constant<T>(operand, count);
  }
  // An optional table operand: nullptr, 256 entries, or 256 per index of the result's last dim.
  struct Table {
    const uint8_t* data = nullptr;
    bool per_channel = false;
    explicit operator bool() const { return data != nullptr; }
  };
  Table table(std::string_view operand = "table") const;

  int64_t integer(std::string_view attribute) const;
  int64_t integer(std::string_view attribute, int64_t least, int64_t most) const;
  bool flag(std::string_view attribute) const { return integer(attribute, 0, 1) != 0; }
  uint8_t zero_point(std::string_view attribute) const {
    return static_cast<uint8_t>(integer(attribute, 0, 255));
  }
  float real(std::string_view attribute) const;
  // The words of the variadic attribute.
  std::span<const uint64_t> variadic() const;

  // Throws Error with the command's opcode and name before `reason`.
  [[noreturn]] void fail(const std::string& reason) const;
  void require(bool condition, const char* reason) const {
    if (!condition) fail(reason);
  }
  // Throws unless `operand` has the dims `dims`.
  void require_dims(std::string_view operand, std::span<const int64_t> dims) const;

 private:
  const Tensor& checked_constant(std::string_view operand, int64_t count) const;

  const Program& program_;
  const CommandRecord& record_;
  const OpcodeSchema& schema_;
};

// Such as "1x3x640x640".
std::string to_string(std::span<const int64_t> dims);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_COMMAND_H_
