// The opcode schemas, parsed once from the strings in furiosa_opcodes.def.

#include <algorithm>
#include <array>
#include <optional>

#include "device_emulator/native/program.h"

namespace furiosa {
namespace {

constexpr size_t kNumbers = 256;

// Takes the text before the next space from the front of `text`.
std::string_view take_word(std::string_view& text) {
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

bool take_suffix(std::string_view& word, std::string_view suffix) {
  if (!word.ends_with(suffix)) return false;
  word.remove_suffix(suffix.size());
  return true;
}

using Schemas = std::array<std::optional<OpcodeSchema>, kNumbers>;

const Schemas& schemas() {
  static const Schemas all = [] {
    Schemas result;
#define FURIOSA_OPCODE(number, NAME, operands, attributes) \
  static_assert(number < kNumbers);                        \
  result[number] = parse_schema(#NAME, operands, attributes);
#include "furiosa_ep/include/furiosa_opcodes.def"
#undef FURIOSA_OPCODE
    return result;
  }();
  return all;
}

// The position of the variadic operand, or the number of operands where there is none.
size_t variadic_position(const std::vector<OpcodeSchema::Operand>& operands) {
  const auto found = std::ranges::find_if(operands, &OpcodeSchema::Operand::variadic);
  return static_cast<size_t>(found - operands.begin());
}

}  // namespace

OpcodeSchema parse_schema(std::string_view name, std::string_view operands,
                          std::string_view attributes) {
  OpcodeSchema schema;
  schema.name = name;
  while (!operands.empty()) {
    std::string_view word = take_word(operands);
    if (word == "->") continue;
    const bool variadic = take_suffix(word, "...");
    const bool optional = take_suffix(word, "?") || variadic;
    const size_t colon = std::min(word.find(':'), word.size());
    const size_t dtypes = std::min(colon + 1, word.size());
    schema.operands.push_back({word.substr(0, colon), word.substr(dtypes), optional, variadic});
  }
  while (!attributes.empty()) {
    std::string_view word = take_word(attributes);
    if (take_suffix(word, "[]")) {
      schema.variadic = word;
    } else {
      const bool real = take_suffix(word, ":f");
      schema.attributes.push_back({word, real});
    }
  }
  return schema;
}

bool OpcodeSchema::Operand::accepts(DType dtype) const {
  if (dtypes == "any") return true;
  const std::string_view wanted = dtype_name(dtype);
  for (std::string_view left = dtypes; !left.empty();) {
    const size_t bar = std::min(left.find('|'), left.size());
    if (left.substr(0, bar) == wanted) return true;
    left.remove_prefix(std::min(bar + 1, left.size()));
  }
  return false;
}

bool OpcodeSchema::takes(size_t count) const {
  if (variadic_position(operands) == operands.size()) return count == operands.size();
  return count + 1 >= operands.size();
}

const OpcodeSchema::Operand& OpcodeSchema::operand(size_t position, size_t count) const {
  const size_t variadic = variadic_position(operands);
  if (position < variadic) return operands[position];
  const size_t behind = operands.size() - variadic - 1, left = count - position;
  return operands[left <= behind ? operands.size() - left : variadic];
}

const OpcodeSchema* find_schema(Opcode opcode) {
  const auto number = static_cast<size_t>(opcode);
  if (number >= kNumbers || !schemas()[number]) return nullptr;
  return &*schemas()[number];
}

}  // namespace furiosa
