#include "furiosa_ep/provider/native/compiler.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <forward_list>
#include <mutex>
#include <optional>
#include <thread>

#include "device_emulator/native/devices/device_handle.h"
#include "furiosa_ep/provider/native/shared_by_content.h"
#include "kernels/native/isa.h"

struct FuriosaReply {
  std::function<void(std::span<const std::byte>)> use_bytes;
  std::function<void(const FuriosaOperator&)> use_operator;
  std::function<void*(size_t, const FuriosaTensor&)> use_output;
  std::optional<furiosa::ConstantMemory> constants;  // of the Program that the bytes will be
  std::string text;
  std::exception_ptr refused;  // why use_bytes threw
};

namespace furiosa {
namespace {

// The installed compiler and the number of calls that are inside it. A call counts itself before
// it reads `current`, so that whoever clears `current` afterwards sees the call.
std::atomic<const FuriosaCompiler*> current{nullptr};
std::atomic<int> calls{0};

class Call {
 public:
  Call() {
    calls.fetch_add(1);
    compiler_ = current.load();
  }
  ~Call() { calls.fetch_sub(1); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  explicit operator bool() const { return compiler_ != nullptr; }
  const FuriosaCompiler* operator->() const {
    if (compiler_ == nullptr) {
      throw Error(
          "FuriosaProvider has no compiler in this process (or the interpreter is shutting down): "
          "import furiosa_ep and call furiosa_ep.register() first");
    }
    return compiler_;
  }

 private:
  const FuriosaCompiler* compiler_;
};

void check(int32_t result, const FuriosaReply& reply, const char* what) {
  if (reply.refused != nullptr) std::rethrow_exception(reply.refused);
  if (result != 0) {
    throw Error(reply.text.empty() ? std::string("the compiler failed to ") + what : reply.text);
  }
}

}  // namespace

CompilerHandle::~CompilerHandle() {
  if (value_ == 0) return;
  const Call call;
  if (call) call->release(value_);
}

namespace compiler {

bool installed() { return current.load() != nullptr; }

CompilerHandle open(std::span<const std::pair<std::string, std::string>> options,
                    std::span<const uint32_t> cards, FuriosaSettings& settings,
                    std::shared_ptr<Device>& device) {
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (const auto& [key, value] : options) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  FuriosaReply reply;
  uint64_t session = 0;
  const Call call;
  const int32_t result = call->open(keys.data(), values.data(), keys.size(), cards.data(),
                                    cards.size(), &settings, &session, &reply);
  CompilerHandle handle(session);
  const std::unique_ptr<furiosa_device> held(static_cast<furiosa_device*>(settings.device));
  settings.device = nullptr;
  check(result, reply, "read the options");
  if (held == nullptr) throw Error("the compiler gave no device");
  device = held->device;
  return handle;
}

PartitionPlan partition(const CompilerHandle& session, const std::string& model,
                        size_t node_count) {
  PartitionPlan plan;
  FuriosaReply reply;
  reply.use_bytes = [&](std::span<const std::byte> bytes) {
    std::vector<int64_t> words(bytes.size() / sizeof(int64_t));
    if (!words.empty()) std::memcpy(words.data(), bytes.data(), words.size() * sizeof(int64_t));
    std::vector<bool> taken(node_count);
    if (words.empty()) throw Error("the compiler gave a broken plan");
    plan.variant = words.front();
    for (size_t at = 1; at < words.size();) {
      const auto size = static_cast<size_t>(words[at++]);
      if (size == 0 || size > words.size() - at)
        throw Error("the compiler gave a broken partition");
      std::vector<size_t>& group = plan.partitions.emplace_back();
      for (const size_t end = at + size; at < end; ++at) {
        const auto index = static_cast<size_t>(words[at]);
        if (index >= node_count || taken[index]) {
          throw Error("the compiler claimed node " + std::to_string(words[at]) + " of " +
                      std::to_string(node_count) + ", or claimed it twice");
        }
        taken[index] = true;
        group.push_back(index);
      }
    }
  };
  const Call call;
  const int32_t result = call->partition(session.value(), model.data(), model.size(), &reply);
  check(result, reply, "partition the graph");
  plan.summary = std::move(reply.text);
  return plan;
}

namespace {

auto& handles() { return SharedByContent<CompilerHandle>::instance(); }
auto& executables() { return SharedByContent<Executable>::instance(); }

// Loads the Program that `reply` takes into `executable`.
void take_program(FuriosaReply& reply, std::shared_ptr<const Executable>& executable) {
  reply.use_bytes = [&](std::span<const std::byte> bytes) {
    executable = reply.constants.has_value()
                     ? Executable::load(bytes, *std::exchange(reply.constants, std::nullopt))
                     : Executable::load(bytes);
  };
}

}  // namespace

CompiledPartition compile(const CompilerHandle& session, const std::string& model,
                          std::span<const int64_t> shapes, const Digest& source) {
  CompiledPartition compiled{source, nullptr, nullptr};
  FuriosaReply reply;
  take_program(reply, compiled.executable);
  uint64_t partition = 0;
  const Call call;
  const int32_t result = call->compile(session.value(), model.data(), model.size(), shapes.data(),
                                       shapes.size(), &partition, &reply);
  if (partition != 0) compiled.handle = std::make_shared<const CompilerHandle>(partition);
  check(result, reply, "compile a partition");
  compiled.handle = handles().share(source, std::move(compiled.handle));
  compiled.executable = executables().share(source, std::move(compiled.executable));
  return compiled;
}

std::optional<CompiledPartition> find_compiled(const Digest& source) {
  CompiledPartition found{source, handles().find(source), executables().find(source)};
  if (found.handle == nullptr && found.executable == nullptr) return std::nullopt;
  return found;
}

std::shared_ptr<const Executable> specialize(const CompiledPartition& partition,
                                             std::span<const int64_t> shapes,
                                             const std::function<void()>& compiling) {
  ContentHash hash;
  hash.add(isa_name(active_isa()));
  hash.add(std::as_bytes(std::span(&partition.source, 1)));
  hash.add(shapes);
  const Digest source = hash.digest();
  std::shared_ptr<const Executable> executable = executables().find(source);
  if (executable != nullptr) return executable;
  compiling();
  FuriosaReply reply;
  take_program(reply, executable);
  const Call call;
  check(call->specialize(partition.handle->value(), shapes.data(), shapes.size(), &reply), reply,
        "compile a partition for new input shapes");
  if (executable == nullptr) throw Error("the compiler gave no Program for these input shapes");
  return executables().share(source, std::move(executable));
}

std::optional<std::vector<Operator>> operators(uint64_t& generation) {
  std::vector<Operator> found;
  FuriosaReply reply;
  reply.use_operator = [&](const FuriosaOperator& one) {
    Operator& copy = found.emplace_back(Operator{one.handle,
                                                 one.domain,
                                                 one.type,
                                                 one.since,
                                                 one.infers_shapes != 0,
                                                 {one.inputs, one.inputs + one.input_count},
                                                 {one.outputs, one.outputs + one.output_count},
                                                 {}});
    for (const FuriosaAttributeType& attribute : std::span(one.attributes, one.attribute_count)) {
      copy.attributes.push_back({attribute.name, attribute.type});
    }
    for (const FuriosaOperand& output : copy.outputs) {
      if (output.source >= static_cast<int64_t>(one.input_count)) {
        throw Error("the compiler gave an output the type of input " +
                    std::to_string(output.source) + " of " + std::to_string(one.input_count));
      }
    }
  };
  const uint64_t before = generation;
  const Call call;
  check(call->operators(&generation, &reply), reply, "list the operators of plugins");
  if (generation == before) return std::nullopt;
  return found;
}

void infer(const Operator& one, std::span<const FuriosaTensor> inputs,
           std::span<const FuriosaAttribute> attributes,
           const std::function<void(size_t, const FuriosaTensor&)>& use) {
  FuriosaReply reply;
  reply.use_output = [&](size_t index, const FuriosaTensor& output) {
    use(index, output);
    return nullptr;
  };
  const Call call;
  check(call->infer(one.handle, inputs.data(), inputs.size(), attributes.data(), attributes.size(),
                    &reply),
        reply, "infer shapes");
}

CompilerHandle create_kernel(const Operator& one, const FuriosaNode& node,
                             const CompilerHandle* session) {
  FuriosaReply reply;
  uint64_t kernel = 0;
  const Call call;
  const int32_t result = call->create_kernel(
      one.handle, &node, session == nullptr ? 0 : session->value(), &kernel, &reply);
  CompilerHandle handle(kernel);
  check(result, reply, "create a kernel");
  return handle;
}

void compute(const CompilerHandle& kernel, std::span<const FuriosaTensor> inputs,
             const std::function<void*(size_t, const FuriosaTensor&)>& allocate) {
  FuriosaReply reply;
  reply.use_output = allocate;
  const Call call;
  check(call->compute(kernel.value(), inputs.data(), inputs.size(), &reply), reply,
        "compute an operator");
}

}  // namespace compiler
}  // namespace furiosa

extern "C" {

__attribute__((visibility("default"))) int32_t furiosa_reply_bytes(FuriosaReply* reply,
                                                                   const void* data,
                                                                   uint64_t size) {
  try {
    if (reply->use_bytes) reply->use_bytes({static_cast<const std::byte*>(data), size});
    return 0;
  } catch (...) {
    reply->refused = std::current_exception();
    return -1;
  }
}

__attribute__((visibility("default"))) void* furiosa_reply_constants(FuriosaReply* reply,
                                                                     uint64_t size) {
  try {
    return reply->constants.emplace(size).bytes().data();
  } catch (...) {
    reply->refused = std::current_exception();
    return nullptr;
  }
}

__attribute__((visibility("default"))) int32_t furiosa_reply_operator(FuriosaReply* reply,
                                                                      const FuriosaOperator* one) {
  try {
    if (reply->use_operator) reply->use_operator(*one);
    return 0;
  } catch (...) {
    reply->refused = std::current_exception();
    return -1;
  }
}

__attribute__((visibility("default"))) int32_t furiosa_reply_output(FuriosaReply* reply,
                                                                    uint64_t index,
                                                                    const FuriosaTensor* tensor,
                                                                    void** data) {
  try {
    *data = reply->use_output ? reply->use_output(index, *tensor) : nullptr;
    return 0;
  } catch (...) {
    reply->refused = std::current_exception();
    return -1;
  }
}

__attribute__((visibility("default"))) void furiosa_reply_text(FuriosaReply* reply,
                                                               const char* utf8) {
  try {
    reply->text = utf8;
  } catch (...) {
    reply->refused = std::current_exception();
  }
}

__attribute__((visibility("default"))) int32_t
furiosa_set_compiler(const FuriosaCompiler* compiler) {
  if (compiler != nullptr && compiler->version != FURIOSA_COMPILER_VERSION) return -1;
  // A call that has read `current` may still use what it points to, so none is ever freed;
  // installing happens once or twice in a process.
  static auto& kept = *new std::forward_list<FuriosaCompiler>();
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  furiosa::current.store(compiler == nullptr ? nullptr : &kept.emplace_front(*compiler));
  if (compiler != nullptr) return 0;
  // Bounded: a child forked during a call has the count, but not the thread that would lower it.
  using std::chrono::steady_clock;
  const auto deadline = steady_clock::now() + std::chrono::seconds(1);
  while (furiosa::calls.load() != 0 && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return 0;
}

}  // extern "C"
