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

OpcodeSchema parse(std::string_view name, std::string_view operands, std::string_view attributes) {
  OpcodeSchema schema;
  schema.name = name;
  while (!operands.empty()) {
    std::string_view word = take_word(operands);
    if (word == "->") continue;
    const bool optional = take_suffix(word, "?");
    const size_t colon = word.find(':');
    schema.operands.push_back({word.substr(0, colon), word.substr(colon + 1), optional});
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

using Schemas = std::array<std::optional<OpcodeSchema>, kNumbers>;

const Schemas& schemas() {
  static const Schemas all = [] {
    Schemas result;
#define FURIOSA_OPCODE(number, NAME, operands, attributes) \
  static_assert(number < kNumbers);                        \
  result[number] = parse(#NAME, operands, attributes);
#include "furiosa_ep/include/furiosa_opcodes.def"
#undef FURIOSA_OPCODE
    return result;
  }();
  return all;
}

}  // namespace

const OpcodeSchema* find_schema(Opcode opcode) {
  const auto number = static_cast<size_t>(opcode);
  if (number >= kNumbers || !schemas()[number]) return nullptr;
  return &*schemas()[number];
}

}  // namespace furiosa
