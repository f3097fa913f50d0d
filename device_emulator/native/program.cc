#include "device_emulator/native/program.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "device_emulator/native/checksum.h"
#include "device_emulator/native/command.h"
#include "device_emulator/native/program_format.h"
#include "device_emulator/native/schedule_parser.h"

namespace furiosa {
namespace {

using namespace format;

// The product of the dims, or nothing where one is negative or the product exceeds kMaxElements.
bool checked_elements(std::span<const int64_t> dims, int64_t* elements) {
  int64_t product = 1;
  bool empty = false;
  for (const int64_t dim : dims) {
    if (dim < 0 || dim > kMaxElements) return false;
    if (dim == 0) empty = true;
    if (dim > 0 && (__builtin_mul_overflow(product, dim, &product) || product > kMaxElements)) {
      return false;
    }
  }
  *elements = empty ? 0 : product;
  return true;
}

}  // namespace

// Reads the sections one after the other; every method throws Error for what it cannot trust.
class ProgramParser {
 public:
  explicit ProgramParser(std::span<const std::byte> bytes) : bytes_(bytes) {}
  ProgramParser(std::span<const std::byte> head, ConstantMemory constants)
      : bytes_(head), apart_(true) {
    program_.constants_ = std::move(constants);
  }

  Program parse() {
    read_header();
    const auto tensors = section<TensorRecord>(header_.tensors, "tensors");
    const auto commands = section<CommandEntry>(header_.commands, "commands");
    program_.words_ = section<uint64_t>(header_.words, "words");
    program_.operands_ = section<uint32_t>(header_.operands, "operands");
    const uint64_t binding_count = uint64_t{header_.inputs} + header_.outputs;
    const auto bindings = section<BindingRecord>(binding_count, "inputs and outputs");
    const auto events = section<EventRecord>(header_.events, "events");
    program_.names_ = section<char>(header_.names_size, "names");
    read_constants();
    for (size_t i = 0; i < bindings.size(); ++i) add_binding(bindings[i], i);
    for (const TensorRecord& one : tensors) add_tensor(one);
    for (const CommandEntry& one : commands) add_command(one);
    program_.schedule_ = parse_schedule(header_, name(header_.target_offset, header_.target_size),
                                        events, program_.commands_.size());
    return std::move(program_);
  }

 private:
  void read_header() {
    if (bytes_.size() < sizeof header_) {
      fail(bytes_.size(), " bytes, expected at least ", sizeof header_, "; is the file truncated?");
    }
    std::memcpy(&header_, bytes_.data(), sizeof header_);
    if (std::memcmp(header_.magic, kMagic, sizeof kMagic) != 0) {
      fail("it does not begin with FURIOSAP");
    }
    if (header_.version != kVersion) {
      fail("version ", header_.version, ", this library reads version ", kVersion,
           "; compile the model again");
    }
    const size_t size = bytes_.size() + program_.constants().size();
    if (header_.size != size) {
      fail(size, " bytes, the header says ", header_.size, "; is the file truncated?");
    }
    if (header_.reserved != 0) fail("a reserved field of the header is not 0");
    if (checksum(bytes_.subspan(kCheckedFrom)) != header_.checksum) {
      fail("the checksum does not match: the bytes were changed after the compiler wrote them");
    }
    if (header_.arena_size > uint64_t{kMaxBytes}) {
      fail("arena of ", header_.arena_size, " bytes, expected at most ", kMaxBytes);
    }
    program_.arena_size_ = header_.arena_size;
    position_ = sizeof header_;
  }

  // The next section, which starts on a multiple of kAlignment.
  std::span<const std::byte> section_bytes(uint64_t count, size_t item, const char* name) {
    position_ = (position_ + kAlignment - 1) / kAlignment * kAlignment;
    const size_t left = position_ <= bytes_.size() ? bytes_.size() - position_ : 0;
    if (count > left / item) fail("the section of ", name, " passes the end");
    const std::span<const std::byte> section =
        bytes_.subspan(std::min(position_, bytes_.size()), static_cast<size_t>(count) * item);
    position_ += section.size();
    return section;
  }

  template <class T>
  std::vector<T> section(uint64_t count, const char* name) {
    const std::span<const std::byte> bytes = section_bytes(count, sizeof(T), name);
    std::vector<T> items(static_cast<size_t>(count));
    if (!bytes.empty()) std::memcpy(items.data(), bytes.data(), bytes.size());
    return items;
  }

  void read_constants() {
    if (apart_) {
      section_bytes(0, 1, "constants");
      if (header_.constants_size != program_.constants().size()) {
        fail(program_.constants().size(), " bytes of constants, the header says ",
             header_.constants_size);
      }
    } else {
      const std::span<const std::byte> bytes =
          section_bytes(header_.constants_size, 1, "constants");
      program_.constants_ = ConstantMemory(bytes.size());
      if (!bytes.empty())
        std::memcpy(program_.constants_.bytes().data(), bytes.data(), bytes.size());
    }
    if (position_ != bytes_.size()) fail(bytes_.size() - position_, " bytes after the constants");
  }

  std::string_view name(uint32_t offset, uint32_t size) const {
    if (uint64_t{offset} + size > program_.names_.size()) fail("a name passes the section's end");
    return {program_.names_.data() + offset, size};
  }

  void add_binding(const BindingRecord& record, size_t i) {
    const bool is_input = i < header_.inputs;
    Binding binding;
    binding.name = name(record.name_offset, record.name_size);
    binding.dtype = static_cast<DType>(record.dtype);
    const size_t item = element_size(binding.dtype);
    const char* what = is_input ? "input '" : "output '";
    if (item == 0) fail(what, binding.name, "' has the unknown dtype ", int{record.dtype});
    if (record.rank > kMaxRank) fail(what, binding.name, "' has rank ", int{record.rank});
    binding.dims.assign(record.dims, record.dims + record.rank);
    int64_t elements = 0;
    if (!checked_elements(binding.dims, &elements) ||
        elements > kMaxBytes / static_cast<int64_t>(item)) {
      fail(what, binding.name, "' has impossible dims ", to_string(binding.dims));
    }
    binding.size = static_cast<size_t>(elements) * item;
    (is_input ? program_.inputs_ : program_.outputs_).push_back(std::move(binding));
  }

  struct Room {
    uint64_t size;     // bytes
    size_t alignment;  // of its address
  };

  Room storage_of(const Tensor& tensor, size_t i) const {
    const auto of_binding = [&](const std::vector<Binding>& bindings) {
      if (tensor.index >= bindings.size()) {
        fail("tensor ", i, " is in input or output ", tensor.index, " of ", bindings.size());
      }
      const Binding& binding = bindings[tensor.index];
      return Room{binding.size, element_size(binding.dtype)};
    };
    switch (tensor.storage) {
      case Storage::kArena:
        return {program_.arena_size_, kAlignment};
      case Storage::kConstant:
        return {program_.constants().size(), kAlignment};
      case Storage::kInput:
        return of_binding(program_.inputs_);
      case Storage::kOutput:
        return of_binding(program_.outputs_);
    }
    fail("tensor ", i, " has the unknown storage ", static_cast<int>(tensor.storage));
  }

  void add_tensor(const TensorRecord& record) {
    const size_t i = program_.tensors_.size();
    Tensor tensor;
    tensor.dtype = static_cast<DType>(record.dtype);
    tensor.storage = static_cast<Storage>(record.storage);
    tensor.rank = record.rank;
    tensor.index = record.index;
    tensor.offset = record.offset;
    const size_t item = element_size(tensor.dtype);
    if (item == 0) fail("tensor ", i, " has the unknown dtype ", int{record.dtype});
    if (record.rank > kMaxRank) fail("tensor ", i, " has rank ", int{record.rank});
    std::copy_n(record.dims, record.rank, tensor.dim.begin());
    std::copy_n(record.strides, record.rank, tensor.stride.begin());
    int64_t elements = 0;
    if (!checked_elements(tensor.dims(), &elements)) {
      fail("tensor ", i, " has impossible dims ", to_string(tensor.dims()));
    }
    const Room storage = storage_of(tensor, i);
    if (elements == 0) {
      tensor.offset = 0;  // nothing is there to be read or written
    } else {
      if (item > storage.alignment || tensor.offset % item != 0) {
        fail("tensor ", i, " is not aligned to its elements");
      }
      check_extent(tensor, storage.size, i);
    }
    program_.tensors_.push_back(tensor);
  }

  static void check_extent(const Tensor& tensor, uint64_t size, size_t i) {
    const auto item = static_cast<int64_t>(element_size(tensor.dtype));
    // From the first byte to the last one of all elements, relative to the storage.
    auto first = static_cast<int64_t>(tensor.offset);
    int64_t end = first;
    bool inside = tensor.offset <= size;
    if (inside) {
      end += item;
      for (uint32_t d = 0; d < tensor.rank; ++d) {
        int64_t reach = 0;
        inside = inside && !__builtin_mul_overflow(tensor.dim[d] - 1, tensor.stride[d], &reach) &&
                 !__builtin_mul_overflow(reach, item, &reach);
        int64_t& bound = reach < 0 ? first : end;
        inside = inside && !__builtin_add_overflow(bound, reach, &bound);
      }
    }
    if (!inside || first < 0 || static_cast<uint64_t>(end) > size) {
      fail("tensor ", i, " of dims ", to_string(tensor.dims()), ", strides ",
           to_string(tensor.strides()), " and offset ", tensor.offset, " leaves its storage of ",
           size, " bytes");
    }
  }

  void add_command(const CommandEntry& entry) {
    const size_t i = program_.commands_.size();
    CommandRecord record;
    record.opcode = static_cast<Opcode>(entry.opcode);
    const OpcodeSchema* schema = find_schema(record.opcode);
    if (schema == nullptr) fail("command ", i, " has the unknown opcode ", entry.opcode);
    if (uint64_t{entry.first_operand} + entry.operand_count > program_.operands_.size() ||
        uint64_t{entry.first_word} + entry.word_count > program_.words_.size()) {
      fail("command ", i, " (", schema->name, ") has operands or attributes past their section");
    }
    record.operands =
        std::span(program_.operands_).subspan(entry.first_operand, entry.operand_count);
    record.words = std::span(program_.words_).subspan(entry.first_word, entry.word_count);
    record.name = name(entry.name_offset, entry.name_size);
    if (!schema->takes(record.operands.size())) {
      fail("command ", i, " (", schema->name, ") has ", entry.operand_count, " operands, expected ",
           schema->operands.size());
    }
    const size_t words = schema->attributes.size();
    if (schema->variadic.empty() ? record.words.size() != words : record.words.size() < words) {
      fail("command ", i, " (", schema->name, ") has ", entry.word_count,
           " attribute words, expected ", words);
    }
    for (size_t k = 0; k < record.operands.size(); ++k) check_operand(*schema, record, i, k);
    program_.commands_.push_back(record);
  }

  void check_operand(const OpcodeSchema& schema, const CommandRecord& record, size_t i, size_t k) {
    const OpcodeSchema::Operand& expected = schema.operand(k, record.operands.size());
    const uint32_t index = record.operands[k];
    const auto refuse = [&](const auto&... reason) {
      fail("command ", i, " (", schema.name, " '", record.name, "'), operand ", expected.name, ": ",
           reason...);
    };
    if (index == kAbsent) {
      if (!expected.optional) refuse("it is missing");
      return;
    }
    if (index >= program_.tensors_.size()) {
      refuse("tensor ", index, " of ", program_.tensors_.size());
    }
    const Tensor& tensor = program_.tensors_[index];
    if (!expected.accepts(tensor.dtype)) {
      refuse("dtype ", dtype_name(tensor.dtype), ", expected ", expected.dtypes);
    }
    if (k + 1 < record.operands.size()) return;
    if (tensor.storage == Storage::kConstant || tensor.storage == Storage::kInput) {
      refuse("a result cannot be written to a constant or an input");
    }
    for (uint32_t d = 0; d < tensor.rank && tensor.elements() > 0; ++d) {
      if (tensor.dim[d] > 1 && tensor.stride[d] == 0) refuse("a result needs strides other than 0");
    }
  }

  std::span<const std::byte> bytes_;
  bool apart_ = false;  // whether the constants are not among the bytes
  size_t position_ = 0;
  HeaderRecord header_{};
  Program program_;
};

Program Program::parse(std::span<const std::byte> bytes) { return ProgramParser(bytes).parse(); }

Program Program::parse(std::span<const std::byte> head, ConstantMemory constants) {
  return ProgramParser(head, std::move(constants)).parse();
}

}  // namespace furiosa
