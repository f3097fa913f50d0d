#ifndef FURIOSA_EP_PROVIDER_NATIVE_FUSED_NODE_H_
#define FURIOSA_EP_PROVIDER_NATIVE_FUSED_NODE_H_

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "device_emulator/native/profiling/session_profile.h"
#include "furiosa_ep/provider/native/compiler.h"
#include "furiosa_ep/provider/native/ort.h"
#include "furiosa_ep/provider/native/program_cache.h"

namespace furiosa {

class FusedNode;

// The partitions of a session whose shapes are open. Thread-safe.
class OpenPartitions {
 public:
  void add(FusedNode& node);
  void remove(FusedNode& node);
  // Lets one of them, `first` before all others, give up a Program that does not run and takes
  // DRAM; false where there is none.
  bool give_up(FusedNode& first);

 private:
  std::mutex mutex_;
  std::vector<FusedNode*> nodes_;
};

// What the parts of one session share; lives until the last of them is gone.
struct Session {
  std::shared_ptr<const void> library;  // keeps what `ort` belongs to
  const Ort& ort;
  const ort::Logger* logger;  // ONNX Runtime's, valid as long as its session
  size_t concurrency;         // the CPUs of this process
  CompilerHandle handle;
  FuriosaSettings settings{};
  std::shared_ptr<Device> device;  // none without a compiler
  profiling::SessionProfile profile{};
  OpenPartitions open{};
};

// One partition in ONNX Runtime's graph: runs its Program on the tensors of a kernel context.
class FusedNode final : public ort::NodeComputeInfo {
 public:
  struct Value {
    std::string name;
    int dtype = 0;
  };

  // Throws Error if the Program does not fit the node's inputs and outputs.
  FusedNode(std::shared_ptr<Session> session, std::string name, std::vector<Value> inputs,
            std::vector<Value> outputs, CompiledPartition compiled);
  ~FusedNode();
  FusedNode(const FusedNode&) = delete;
  FusedNode& operator=(const FusedNode&) = delete;

 private:
  friend class OpenPartitions;

  // A Program with the places of its inputs and outputs among those of the node.
  struct Placed {
    std::shared_ptr<const Executable> executable;
    std::vector<size_t> inputs;
    std::vector<size_t> outputs;
    std::unique_ptr<Placement> placement;
  };
  struct Input {
    const void* data;
    std::span<const int64_t> dims;
  };

  // What `action` gives, to which other Programs of the session make room in DRAM.
  template <class Action>
  auto with_room(Action&& action);
  bool give_up_program();

  void compute(ort::KernelContext* context);
  void run(const Placed& placed, std::span<const Input> inputs, ort::KernelContext* context);
  std::shared_ptr<const Placed> find_program(std::span<const Input> inputs,
                                             const ort::KernelContext* context);
  std::shared_ptr<const Placed> specialize(std::span<const Input> inputs,
                                           std::span<const int64_t> shapes,
                                           const ort::KernelContext* context);
  std::shared_ptr<const Placed> place(std::shared_ptr<const Executable> executable) const;
  // Throws Error unless the inputs have the shapes that the Program was compiled for.
  void check_shapes(const Placed& placed, std::span<const Input> inputs) const;

  static ort::Status* create_state(ort::NodeComputeInfo*, ort::NodeComputeContext*,
                                   void** state) noexcept;
  static ort::Status* compute_entry(ort::NodeComputeInfo* self, void* state,
                                    ort::KernelContext* context) noexcept;
  static void release_state(ort::NodeComputeInfo*, void* state) noexcept;

  const std::shared_ptr<Session> session_;
  const std::string name_;
  const std::vector<Value> inputs_;
  const std::vector<Value> outputs_;
  const CompiledPartition compiled_;
  std::shared_ptr<const Placed> fixed_;  // where the shapes are known beforehand
  ProgramCache<Placed> programs_;        // otherwise
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_FUSED_NODE_H_
