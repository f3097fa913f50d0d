#include "device_emulator/native/command.h"

#include <algorithm>
#include <bit>

namespace furiosa {
namespace {

template <class Items>
size_t position(const Items& items, std::string_view name, std::string_view opcode) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].name == name) return i;
  }
  throw std::logic_error(std::string(opcode) + " has no operand or attribute " + std::string(name));
}

}  // namespace

std::string to_string(std::span<const int64_t> dims) {
  std::string text;
  for (const int64_t dim : dims) {
    if (!text.empty()) text += 'x';
    text += std::to_string(dim);
  }
  return text.empty() ? "scalar" : text;
}

CommandReader::CommandReader(const Program& program, const CommandRecord& record)
    : program_(program), record_(record), schema_(*find_schema(record.opcode)) {}

void CommandReader::fail(const std::string& reason) const {
  std::string where(schema_.name);
  if (!record_.name.empty()) where += " '" + std::string(record_.name) + "'";
  throw Error(where + ": " + reason);
}

uint32_t CommandReader::index(std::string_view operand) const {
  const size_t found = position(schema_.operands, operand, schema_.name);
  // The result is the last one, whatever number of others a variadic operand has.
  return found + 1 == schema_.operands.size() ? record_.operands.back() : record_.operands[found];
}

const Tensor* CommandReader::find(std::string_view operand) const {
  const uint32_t found = index(operand);
  return found == kAbsent ? nullptr : &program_.tensor(found);
}

const Tensor& CommandReader::tensor(std::string_view operand) const {
  const Tensor* found = find(operand);
  if (found == nullptr) fail("operand " + std::string(operand) + " is missing");
  return *found;
}

const Tensor& CommandReader::tensor(std::string_view operand, size_t rank) const {
  const Tensor& found = tensor(operand);
  if (found.rank != rank) {
    fail("operand " + std::string(operand) + " is " + to_string(found.dims()) + ": expected rank " +
         std::to_string(rank));
  }
  return found;
}

const Tensor& CommandReader::checked_constant(std::string_view operand, int64_t count) const {
  const Tensor& found = tensor(operand);
  if (found.storage != Storage::kConstant || !found.contiguous() || found.elements() != count) {
    fail("operand " + std::string(operand) + " is " + to_string(found.dims()) +
         ": expected a contiguous constant of " + std::to_string(count) + " elements");
  }
  return found;
}

CommandReader::Table CommandReader::table(std::string_view operand) const {
  const Tensor* found = find(operand);
  if (found == nullptr) return {};
  const Tensor& result = program_.tensor(record_.operands.back());
  const int64_t channels = result.rank == 0 ? 1 : result.dims().back();
  const bool per_channel = found->rank == 2;
  const int64_t count = per_channel ? 256 * channels : 256;
  return {constant<uint8_t>(operand, count).data(), per_channel};
}

int64_t CommandReader::integer(std::string_view attribute) const {
  return std::bit_cast<int64_t>(
      record_.words[position(schema_.attributes, attribute, schema_.name)]);
}

int64_t CommandReader::integer(std::string_view attribute, int64_t least, int64_t most) const {
  const int64_t value = integer(attribute);
  if (value < least || value > most) {
    fail(std::string(attribute) + "=" + std::to_string(value) + ": expected " +
         std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

float CommandReader::real(std::string_view attribute) const {
  const size_t found = position(schema_.attributes, attribute, schema_.name);
  return std::bit_cast<float>(static_cast<uint32_t>(record_.words[found]));
}

std::span<const uint64_t> CommandReader::variadic() const {
  return record_.words.subspan(schema_.attributes.size());
}

void CommandReader::require_dims(std::string_view operand, std::span<const int64_t> dims) const {
  const Tensor& found = tensor(operand);
  if (!std::ranges::equal(found.dims(), dims)) {
    fail("operand " + std::string(operand) + " is " + to_string(found.dims()) + ": expected " +
         to_string(dims));
  }
}

}  // namespace furiosa
