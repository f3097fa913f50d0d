#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROGRAM_FORMAT_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROGRAM_FORMAT_H_

// The bytes of a Program (docs/program.md), for those who parse them.

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "device_emulator/native/program.h"

namespace furiosa::format {

inline constexpr char kMagic[8] = {'F', 'U', 'R', 'I', 'O', 'S', 'A', 'P'};
inline constexpr uint32_t kVersion = 2;
// Bounds that keep every later product of dims and sizes far from overflow.
inline constexpr int64_t kMaxBytes = int64_t{1} << 40;
inline constexpr int64_t kMaxElements = int64_t{1} << 48;
inline constexpr uint64_t kMaxMoved = uint64_t{1} << 62;
inline constexpr uint64_t kMaxCycles = uint64_t{1} << 53;  // a day at 100 GHz
inline constexpr uint64_t kMaxClock = 100'000'000'000;
inline constexpr uint32_t kMaxPes = 1024;

// The records of the file, as furiosa_ep/program/program.py declares them.
struct HeaderRecord {
  char magic[8];
  uint32_t version;
  uint32_t reserved;
  uint64_t checksum;
  uint64_t size;
  uint64_t arena_size;
  uint32_t tensors;
  uint32_t commands;
  uint32_t words;
  uint32_t operands;
  uint32_t inputs;
  uint32_t outputs;
  uint64_t names_size;
  uint64_t constants_size;
  uint32_t events;
  uint32_t pes;
  uint64_t clock_hz;
  uint64_t dram_bytes;
  uint32_t target_offset;
  uint32_t target_size;
};
static_assert(sizeof(HeaderRecord) == 112);
inline constexpr size_t kCheckedFrom = offsetof(HeaderRecord, checksum) + sizeof(uint64_t);

struct TensorRecord {
  uint8_t dtype;
  uint8_t storage;
  uint8_t rank;
  uint8_t reserved;
  uint32_t index;
  uint64_t offset;
  int64_t dims[kMaxRank];
  int64_t strides[kMaxRank];
};
static_assert(sizeof(TensorRecord) == 144);

struct CommandEntry {
  uint16_t opcode;
  uint16_t operand_count;
  uint32_t word_count;
  uint32_t first_operand;
  uint32_t first_word;
  uint32_t name_offset;
  uint32_t name_size;
};
static_assert(sizeof(CommandEntry) == 24);

struct BindingRecord {
  uint8_t dtype;
  uint8_t rank;
  uint8_t reserved[6];
  int64_t dims[kMaxRank];
  uint32_t name_offset;
  uint32_t name_size;
};
static_assert(sizeof(BindingRecord) == 80);

struct EventRecord {
  uint32_t command;
  uint8_t engine;
  uint8_t reserved[3];
  uint64_t start;
  uint64_t end;
  uint64_t bytes;
};
static_assert(sizeof(EventRecord) == 32);

// Throws Error.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::string text = "invalid Program: ";
  const auto append = [&text](const auto& part) {
    if constexpr (std::is_arithmetic_v<std::remove_cvref_t<decltype(part)>>) {
      text += std::to_string(part);
    } else {
      text += part;
    }
  };
  (append(parts), ...);
  throw Error(text);
}

}  // namespace furiosa::format

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROGRAM_FORMAT_H_
