// Constants: a Program gives the same results with its constants apart from its other bytes, and
// what is packed goes back to the system, but nothing that a run reads.

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "device_emulator/native/executor.h"
#include "tests/native/samples.h"

namespace furiosa::test {
namespace {

constexpr size_t kSizeAt = 24, kConstantsSizeAt = 72;  // of the header

bool failed(const char* what, const char* where) {
  std::fprintf(stderr, "%s: %s\n", where, what);
  return false;
}

std::vector<Bytes> results(const Executable& executable) {
  Buffers buffers(executable.program(), 7);
  InlinePool pool;
  executable.run(buffers.input_pointers, buffers.output_pointers, pool);
  return buffers.outputs;
}

struct Parts {
  Bytes head;
  ConstantMemory constants;
};

Parts divide(const Bytes& program) {
  uint64_t size = 0;
  std::memcpy(&size, program.data() + kConstantsSizeAt, sizeof size);
  const auto border = program.end() - static_cast<ptrdiff_t>(size);
  Parts parts{{program.begin(), border}, ConstantMemory(size)};
  std::copy(border, program.end(), parts.constants.bytes().begin());
  seal(parts.head);
  return parts;
}

bool refuses(Parts parts, const char* reason, const char* where) {
  try {
    Executable::load(parts.head, std::move(parts.constants));
  } catch (const Error& error) {
    if (std::strstr(error.what(), reason) != nullptr) return true;
    return failed(error.what(), where);
  }
  return failed("is accepted", where);
}

bool check_apart() {
  for (const Sample& sample : samples()) {
    const char* const name = sample.name.c_str();
    Parts parts = divide(sample.program);
    const auto apart = Executable::load(parts.head, std::move(parts.constants));
    if (results(*apart) != results(*Executable::load(sample.program))) {
      return failed("other results with constants apart", name);
    }
    parts = divide(sample.program);
    parts.head[parts.head.size() / 2] ^= std::byte{1};
    if (!refuses(std::move(parts), "checksum", name)) return false;
    parts = divide(sample.program);
    parts.constants = ConstantMemory(parts.constants.bytes().size() + 64);
    if (!refuses(std::move(parts), "the header says", name)) return false;
    parts = divide(sample.program);
    const uint64_t size = sample.program.size() + 64;
    std::memcpy(parts.head.data() + kSizeAt, &size, sizeof size);
    seal(parts.head);
    parts.constants = ConstantMemory(parts.constants.bytes().size() + 64);
    if (!refuses(std::move(parts), "of constants, the header says", name)) return false;
  }
  return true;
}

// Two convolutions whose weights share a page with the table that the second one reads, and a third
// command that reads the first one's weights at run.
bool check_release() {
  constexpr int64_t kChannels = 256;
  constexpr size_t kWeights = kChannels * kChannels;
  const Dims image{1, 4, 4, kChannels}, weights{kChannels, 1, 1, kChannels}, channel{kChannels};
  ProgramBuilder builder;
  const uint32_t x = builder.input(DType::kU8, image);
  const uint32_t y = builder.output(DType::kU8, image);
  const uint32_t copied = builder.output(DType::kU8, {int64_t{kWeights}});
  const auto bias = builder.constant(DType::kI32, channel, std::vector<int32_t>(kChannels, 1));
  const auto scale = builder.constant(DType::kF32, channel, std::vector<float>(kChannels, 0.01f));
  const auto first = builder.constant(DType::kI8, weights, std::vector<int8_t>(kWeights, 3));
  const auto second = builder.constant(DType::kI8, weights, std::vector<int8_t>(kWeights, 5));
  std::vector<uint8_t> reversed(256);
  for (size_t i = 0; i < 256; ++i) reversed[i] = static_cast<uint8_t>(255 - i);
  const auto table = builder.constant(DType::kU8, {256}, reversed);
  const uint64_t first_at = 2 * 1024, second_at = first_at + kWeights,
                 table_at = second_at + kWeights;
  const uint32_t between = builder.arena(DType::kU8, image);
  const auto conv = [&](uint32_t from, uint32_t w, uint32_t lookup, uint32_t to) {
    builder.command(Opcode::CONV, {from, w, bias, scale, lookup, kAbsent, kAbsent, to},
                    {1, 1, 1, 1, 0, 0, 1, 128, 128, 0, 0, 0, 0, 0});
  };
  conv(x, first, kAbsent, between);
  conv(between, second, table, y);
  const auto bytes = builder.view(DType::kU8, Storage::kConstant, {int64_t{kWeights}}, first_at, 0);
  builder.command(Opcode::COPY, {bytes, kAbsent, copied});
  const auto executable = Executable::load(builder.finish());
  const std::span<const std::byte> constants = executable->program().constants();
  const auto all = [&](uint64_t from, uint64_t size, int value) {
    const auto part = constants.subspan(from, size);
    return std::ranges::all_of(part, [&](std::byte one) { return one == std::byte(value); });
  };
  const size_t page = ConstantMemory::page_size();
  if (!all(first_at, kWeights, 3)) return failed("what a run reads is gone", "release");
  const uint64_t whole = (second_at + page - 1) / page * page;
  if (!all(whole, table_at / page * page - whole, 0)) return failed("weights stay", "release");
  if (std::memcmp(constants.data() + table_at, reversed.data(), reversed.size()) != 0) {
    return failed("a table is gone", "release");
  }
  const std::vector<Bytes> outputs = results(*executable);
  if (!std::ranges::all_of(outputs[1], [](std::byte one) { return one == std::byte{3}; })) {
    return failed("wrong copy", "release");
  }
  return true;
}

}  // namespace
}  // namespace furiosa::test

int main() {
  const bool good = furiosa::test::check_apart() && furiosa::test::check_release();
  if (good) std::puts("constants: good");
  return good ? 0 : 1;
}
