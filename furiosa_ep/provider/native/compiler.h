#ifndef FURIOSA_EP_PROVIDER_NATIVE_COMPILER_H_
#define FURIOSA_EP_PROVIDER_NATIVE_COMPILER_H_

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "device_emulator/native/content_hash.h"
#include "device_emulator/native/devices/device.h"
#include "device_emulator/native/executor.h"
#include "furiosa_ep/provider/native/compiler_callbacks.h"

namespace furiosa {

// What the compiler keeps under a handle, forgotten with this object.
class CompilerHandle {
 public:
  CompilerHandle() = default;
  explicit CompilerHandle(uint64_t value) : value_(value) {}
  CompilerHandle(CompilerHandle&& other) noexcept : value_(std::exchange(other.value_, 0)) {}
  CompilerHandle& operator=(CompilerHandle&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~CompilerHandle();

  uint64_t value() const { return value_; }
  explicit operator bool() const { return value_ != 0; }

 private:
  uint64_t value_ = 0;
};

struct PartitionPlan {
  int64_t variant = 0;                          // equal partitions of equal ones compile alike
  std::vector<std::vector<size_t>> partitions;  // node indices
  std::string summary;
};

// Either a Program, or what makes one for given input shapes.
struct CompiledPartition {
  Digest source;  // of what it was compiled from
  std::shared_ptr<const CompilerHandle> handle;
  std::shared_ptr<const Executable> executable;
};

// An operator of a plugin's own domain in one combination of types; see FuriosaOperator.
struct Operator {
  struct Attribute {
    std::string name;
    int type;
  };
  uint64_t handle;
  std::string domain;
  std::string type;
  int since;
  bool infers_shapes;
  std::vector<FuriosaOperand> inputs;
  std::vector<FuriosaOperand> outputs;
  std::vector<Attribute> attributes;
};

// The installed compiler. All functions throw Error with the compiler's reason.
namespace compiler {

bool installed();

CompilerHandle open(std::span<const std::pair<std::string, std::string>> options,
                    std::span<const uint32_t> cards, FuriosaSettings& settings,
                    std::shared_ptr<Device>& device);
PartitionPlan partition(const CompilerHandle& session, const std::string& model, size_t node_count);
// `source` stands for all that the result depends on: what sessions of the process have in use for
// equal ones is shared.
CompiledPartition compile(const CompilerHandle& session, const std::string& model,
                          std::span<const int64_t> shapes, const Digest& source);
std::optional<CompiledPartition> find_compiled(const Digest& source);
// The Program of `partition` for these input shapes; `compiling` is called where none is in use.
std::shared_ptr<const Executable> specialize(const CompiledPartition& partition,
                                             std::span<const int64_t> shapes,
                                             const std::function<void()>& compiling);

// All combinations of types of an operator are in sequence; nothing where they are still those of
// `generation`, which is set to theirs.
std::optional<std::vector<Operator>> operators(uint64_t& generation);
// `use` gets the outputs whose shapes are known.
void infer(const Operator& one, std::span<const FuriosaTensor> inputs,
           std::span<const FuriosaAttribute> attributes,
           const std::function<void(size_t, const FuriosaTensor&)>& use);
// `session` may be null.
CompilerHandle create_kernel(const Operator& one, const FuriosaNode& node,
                             const CompilerHandle* session);
// `allocate` gives the memory of an output, null where it is not wanted.
void compute(const CompilerHandle& kernel, std::span<const FuriosaTensor> inputs,
             const std::function<void*(size_t, const FuriosaTensor&)>& allocate);

}  // namespace compiler
}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_COMPILER_H_
