// CALL: the kernel of a plugin, called through the frame that furiosa_ep.h describes.

#include <bit>
#include <exception>
#include <limits>
#include <memory>
#include <vector>

#include "device_emulator/native/command.h"
#include "device_emulator/native/kernel_registry.h"
#include "device_emulator/native/text.h"

namespace furiosa {
namespace {

constexpr int64_t kMostWorkspace = int64_t{1} << 30;
constexpr size_t kErrorSize = 1024;
constexpr size_t kQuantization = 2;  // words for each operand and for the result

// Where the elements of a tensor are that has none.
alignas(kAlignment) std::byte nothing[kAlignment];

size_t align(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

std::shared_ptr<const Kernel> find_kernel(const CommandReader& reader) {
  const auto opcode = reader.constant<uint8_t>("kernel", reader.tensor("kernel").elements());
  try {
    return kernel_registry().find({reinterpret_cast<const char*>(opcode.data()), opcode.size()});
  } catch (const Error& error) {
    reader.fail(error.what());
  }
}

bool overlap(const Tensor& a, const Tensor& b) {
  if (a.storage != b.storage) return false;
  if (a.storage != Storage::kArena && a.index != b.index) return false;
  const Tensor::Extent one = a.extent(), other = b.extent();
  return one.begin < other.end && other.begin < one.end;
}

// The threads of a run, as a frame's parallel_for sees them.
struct Executor {
  ThreadPool& pool;
  std::exception_ptr failure;  // of the pool; must not pass through a kernel
};

void parallel_for(const furiosa_kernel_frame* frame, size_t count, furiosa_task task,
                  void* context) {
  auto& executor = *static_cast<Executor*>(frame->executor);
  try {
    if (count == 1) {
      task(context, 0);
    } else if (count > 1) {
      executor.pool.run(count, task, context);
    }
  } catch (...) {
    executor.failure = std::current_exception();
  }
}

class Call final : public Command {
 public:
  Call(const Program& program, const CommandRecord& record, const CommandReader& reader)
      : kernel_(find_kernel(reader)),
        where_("plugin '" + kernel_->plugin + "', kernel '" + kernel_->opcode + "', node '" +
               valid_utf8(record.name) + "': "),
        workspace_size_(static_cast<size_t>(reader.integer("workspace", 0, kMostWorkspace))),
        result_(program.tensor(record.operands.back())) {
    const std::span<const uint32_t> operands = record.operands.subspan(1);
    const std::vector<OpcodeSchema::Operand>& declared = kernel_->schema.operands;
    if (operands.size() != declared.size()) {
      fail(std::to_string(operands.size()) + " operands and results, expected " +
           std::to_string(declared.size()) + ", " + kernel_->operands);
    }
    const std::span<const uint64_t> words = reader.variadic();
    const size_t attributes = kernel_->schema.attributes.size();
    if (words.size() != kQuantization * operands.size() + attributes) {
      fail(std::to_string(words.size()) + " values, expected " + std::to_string(kQuantization) +
           " for each operand and result and " + std::to_string(attributes) + " attributes");
    }
    for (size_t i = 0; i < operands.size(); ++i) {
      const Tensor* tensor = operands[i] == kAbsent ? nullptr : &program.tensor(operands[i]);
      add(declared[i], tensor, words.subspan(kQuantization * i, kQuantization));
      if (tensor != nullptr && tensor->elements() > 0) places_.push_back({i, operands[i]});
    }
    for (const uint64_t word : words.last(attributes)) {
      attributes_.push_back({.integer = std::bit_cast<int64_t>(word)});
    }
  }

  bool reads_constant(size_t operand) const override { return operand != 0; }

  size_t scratch_size() const override { return tensors_size() + workspace_size_; }

  void run(const RunContext& context) const override {
    if (result_.elements() == 0) return;
    auto* tensors = reinterpret_cast<furiosa_tensor*>(context.scratch());
    std::uninitialized_copy(tensors_.begin(), tensors_.end(), tensors);
    for (const Place& place : places_) {
      tensors[place.position].data = context.data<void>(place.tensor);
    }
    Executor executor{context.pool(), nullptr};
    char error[kErrorSize];
    error[0] = '\0';
    const furiosa_kernel_frame frame = {
        .version = FURIOSA_KERNEL_VERSION,
        .size = sizeof frame,
        .inputs = tensors,
        .input_count = tensors_.size() - 1,
        .outputs = tensors + tensors_.size() - 1,
        .output_count = 1,
        .attributes = attributes_.data(),
        .attribute_count = attributes_.size(),
        .workspace = context.scratch() + tensors_size(),
        .workspace_size = workspace_size_,
        .error = error,
        .error_size = kErrorSize,
        .parallel_for = &parallel_for,
        .executor = &executor,
        .concurrency = executor.pool.concurrency(),
    };
    const int32_t status = call(frame);
    if (executor.failure) std::rethrow_exception(executor.failure);
    if (status == 0 && error[0] == '\0') return;
    error[kErrorSize - 1] = '\0';
    fail(error[0] != '\0' ? valid_utf8(error) : "it returned " + std::to_string(status));
  }

 private:
  // A tensor of the frame whose address each run has its own.
  struct Place {
    size_t position;
    uint32_t tensor;
  };

  // Adds an operand or the result to the frame. `tensor` is nullptr where it is absent.
  void add(const OpcodeSchema::Operand& declared, const Tensor* tensor,
           std::span<const uint64_t> quantization) {
    const auto refuse = [&](const std::string& reason) {
      fail("operand " + std::string(declared.name) + ": " + reason);
    };
    furiosa_tensor& added = tensors_.emplace_back();
    if (tensor == nullptr) {
      if (!declared.optional) refuse("it is missing");
      added.scale = 1;
      return;
    }
    if (!declared.accepts(tensor->dtype)) {
      refuse(std::string("dtype ") + dtype_name(tensor->dtype) + ", expected " +
             std::string(declared.dtypes));
    }
    if (!kernel_->strided() && !tensor->contiguous()) {
      refuse("dims " + to_string(tensor->dims()) + " with strides " + to_string(tensor->strides()) +
             ": expected row-major");
    }
    const bool is_result = tensors_.size() == kernel_->schema.operands.size();
    if (!is_result && overlap(*tensor, result_)) refuse("it overlaps the result");
    using Limits = std::numeric_limits<int32_t>;
    const bool is_byte = tensor->dtype == DType::kU8;
    const auto zero_point = std::bit_cast<int64_t>(quantization[1]);
    if (zero_point < (is_byte ? 0 : Limits::min()) ||
        zero_point > (is_byte ? 255 : Limits::max())) {
      refuse("zero point " + std::to_string(zero_point) + ", expected " +
             (is_byte ? "0 to 255" : "an int32"));
    }
    added = {.data = nothing,
             .dims = tensor->dim.data(),
             .strides = tensor->stride.data(),
             .rank = tensor->rank,
             .dtype = static_cast<uint32_t>(tensor->dtype),
             .scale = std::bit_cast<float>(static_cast<uint32_t>(quantization[0])),
             .zero_point = static_cast<int32_t>(zero_point)};
  }

  int32_t call(const furiosa_kernel_frame& frame) const {
    try {
      return kernel_->run(&frame);
    } catch (const std::exception& error) {
      fail("it threw an exception: " + valid_utf8(error.what()));
    } catch (...) {
      fail("it threw an exception");
    }
  }

  [[noreturn]] void fail(const std::string& reason) const { throw Error(where_ + reason); }

  size_t tensors_size() const { return align(tensors_.size() * sizeof(furiosa_tensor)); }

  const std::shared_ptr<const Kernel> kernel_;
  const std::string where_;
  const size_t workspace_size_;
  const Tensor& result_;
  std::vector<furiosa_tensor> tensors_;  // the operands, then the result; without addresses
  std::vector<Place> places_;
  std::vector<furiosa_attribute> attributes_;
};

}  // namespace

template <>
std::unique_ptr<Command> prepare<Opcode::CALL>(const Program& program,
                                               const CommandRecord& record) {
  return std::make_unique<Call>(program, record, CommandReader(program, record));
}

}  // namespace furiosa
