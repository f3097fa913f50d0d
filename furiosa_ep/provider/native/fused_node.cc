#include "furiosa_ep/provider/native/fused_node.h"

#include <algorithm>

#include "device_emulator/native/command.h"
#include "device_emulator/native/devices/device_error.h"
#include "device_emulator/native/devices/placed_run.h"
#include "device_emulator/native/profiling/recorder.h"
#include "furiosa_ep/provider/native/small_buffer.h"
#include "furiosa_ep/provider/native/thread_pool.h"

namespace furiosa {
namespace {

constexpr size_t kFewTensors = 16;
constexpr size_t kFewDims = 64;

// Stands for a tensor without elements, whose pointer may be null.
alignas(kAlignment) std::byte nothing[kAlignment];

// The positions of `bindings` among `values`, by name.
std::vector<size_t> positions(const std::vector<Binding>& bindings,
                              const std::vector<FusedNode::Value>& values, const char* what) {
  std::vector<size_t> found;
  for (const Binding& binding : bindings) {
    const auto value = std::ranges::find(values, binding.name, &FusedNode::Value::name);
    if (value == values.end() || static_cast<int>(binding.dtype) != value->dtype) {
      throw Error("the Program's " + std::string(what) + " '" + binding.name + "' of type " +
                  dtype_name(binding.dtype) +
                  (value == values.end() ? " is none of the partition"
                                         : " has another type in the partition (" +
                                               std::to_string(value->dtype) + ")"));
    }
    found.push_back(static_cast<size_t>(value - values.begin()));
  }
  return found;
}

}  // namespace

void OpenPartitions::add(FusedNode& node) {
  const std::lock_guard lock(mutex_);
  nodes_.push_back(&node);
}

void OpenPartitions::remove(FusedNode& node) {
  const std::lock_guard lock(mutex_);
  std::erase(nodes_, &node);
}

bool OpenPartitions::give_up(FusedNode& first) {
  if (first.give_up_program()) return true;
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(nodes_, &FusedNode::give_up_program);
}

FusedNode::FusedNode(std::shared_ptr<Session> session, std::string name, std::vector<Value> inputs,
                     std::vector<Value> outputs, CompiledPartition compiled)
    : ort::NodeComputeInfo{session->ort.version, create_state, compute_entry, release_state},
      session_(std::move(session)),
      name_(std::move(name)),
      inputs_(std::move(inputs)),
      outputs_(std::move(outputs)),
      compiled_(std::move(compiled)),
      programs_(session_->settings.program_cache_size) {
  if (compiled_.executable != nullptr) {
    fixed_ = place(compiled_.executable);
  } else {
    session_->open.add(*this);
  }
}

FusedNode::~FusedNode() { session_->open.remove(*this); }

template <class Action>
auto FusedNode::with_room(Action&& action) {
  for (;;) {
    try {
      return action();
    } catch (const DeviceError& error) {
      if (error.status() != FURIOSA_OUT_OF_DEVICE_MEMORY || !session_->open.give_up(*this)) throw;
    }
  }
}

bool FusedNode::give_up_program() {
  return programs_.give_up([](const Placed& placed) { return placed.placement->takes_dram(); });
}

std::shared_ptr<const FusedNode::Placed> FusedNode::place(
    std::shared_ptr<const Executable> executable) const {
  auto placed = std::make_shared<Placed>();
  placed->inputs = positions(executable->program().inputs(), inputs_, "input");
  placed->outputs = positions(executable->program().outputs(), outputs_, "output");
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (std::ranges::count(placed->outputs, i) != 1) {
      throw Error("the Program must write the partition's output '" + outputs_[i].name + "' once");
    }
  }
  placed->placement =
      std::make_unique<Placement>(session_->device, run_cost(executable->program()));
  placed->executable = std::move(executable);
  return placed;
}

void FusedNode::compute(ort::KernelContext* context) {
  const Ort& ort = session_->ort;
  SmallBuffer<Input, kFewTensors> inputs(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const ort::Value* value = nullptr;
    ort.check(ort.api[ort::kKernelContextGetInput](context, i, &value));
    int dtype = 0;
    const int64_t* dims = nullptr;
    size_t rank = 0;
    ort.check(ort.api[ort::kGetTensorTypeAndShapeReference](value, &dtype, &dims, &rank));
    inputs[i].dims = {dims, rank};
    ort.check(ort.api[ort::kGetTensorData](value, &inputs[i].data));
  }
  if (fixed_ != nullptr) {
    check_shapes(*fixed_, inputs.span());
    with_room([&] { run(*fixed_, inputs.span(), context); });
  } else {
    const std::shared_ptr<const Placed> placed = find_program(inputs.span(), context);
    with_room([&] { run(*placed, inputs.span(), context); });  // it may be new in a forked child
  }
}

void FusedNode::run(const Placed& placed, std::span<const Input> inputs,
                    ort::KernelContext* context) {
  const Ort& ort = session_->ort;
  const std::vector<Binding>& results = placed.executable->program().outputs();
  SmallBuffer<const void*, kFewTensors> sources(placed.inputs.size());
  SmallBuffer<void*, kFewTensors> targets(placed.outputs.size());
  for (size_t i = 0; i < placed.inputs.size(); ++i) {
    const void* data = inputs[placed.inputs[i]].data;
    sources[i] = data == nullptr ? nothing : data;
  }
  for (size_t i = 0; i < placed.outputs.size(); ++i) {
    const std::vector<int64_t>& dims = results[i].dims;
    ort::Value* value = nullptr;
    ort.check(ort.api[ort::kKernelContextGetOutput](context, placed.outputs[i], dims.data(),
                                                    dims.size(), &value));
    ort.check(ort.api[ort::kGetTensorMutableData](value, &targets[i]));
    if (targets[i] == nullptr) targets[i] = nothing;
  }
  SessionThreadPool pool(ort, context, session_->concurrency);
  run_placed(*placed.executable, *placed.placement,
             std::chrono::duration<double>(session_->settings.run_timeout), sources.span(),
             targets.span(), pool, {session_->profile.session(), name_});
}

void FusedNode::check_shapes(const Placed& placed, std::span<const Input> inputs) const {
  const std::vector<Binding>& bindings = placed.executable->program().inputs();
  for (size_t i = 0; i < bindings.size(); ++i) {
    const std::span<const int64_t> dims = inputs[placed.inputs[i]].dims;
    if (!std::ranges::equal(dims, bindings[i].dims)) {
      throw Error("input '" + bindings[i].name + "' of partition " + name_ + " has shape " +
                  to_string(dims) + ", it was compiled for " + to_string(bindings[i].dims));
    }
  }
}

std::shared_ptr<const FusedNode::Placed> FusedNode::find_program(
    std::span<const Input> inputs, const ort::KernelContext* context) {
  size_t words = 0;
  for (const Input& input : inputs) words += 1 + input.dims.size();
  SmallBuffer<int64_t, kFewDims> shapes(words);
  int64_t* end = shapes.data();
  for (const Input& input : inputs) {
    *end++ = static_cast<int64_t>(input.dims.size());
    end = std::ranges::copy(input.dims, end).out;
  }
  return programs_.get(shapes.span(), [&] { return specialize(inputs, shapes.span(), context); });
}

std::shared_ptr<const FusedNode::Placed> FusedNode::specialize(std::span<const Input> inputs,
                                                               std::span<const int64_t> shapes,
                                                               const ort::KernelContext* context) {
  std::string description = "partition " + name_ + " for";
  for (size_t i = 0; i < inputs.size(); ++i) {
    description += " '" + inputs_[i].name + "' " + to_string(inputs[i].dims);
  }
  try {
    const profiling::SpanScope span(session_->profile.session(), "Compile");
    const std::shared_ptr<const Executable> executable =
        compiler::specialize(compiled_, shapes, [&] {
          const Ort& ort = session_->ort;
          ort.log(ort.get(ort::kKernelContextGetLogger, context), ort::Severity::kInfo,
                  "compiling " + description);
        });
    std::shared_ptr<const Placed> placed = with_room([&] { return place(executable); });
    check_shapes(*placed, inputs);
    return placed;
  } catch (const DeviceError&) {
    throw;
  } catch (const std::exception& error) {
    throw Error("cannot compile " + description + ": " + error.what());
  }
}

ort::Status* FusedNode::create_state(ort::NodeComputeInfo*, ort::NodeComputeContext*,
                                     void** state) noexcept {
  *state = nullptr;  // runs need nothing beside the node itself
  return nullptr;
}

ort::Status* FusedNode::compute_entry(ort::NodeComputeInfo* self, void*,
                                      ort::KernelContext* context) noexcept {
  auto& node = static_cast<FusedNode&>(*self);
  return node.session_->ort.guard([&] { node.compute(context); });
}

void FusedNode::release_state(ort::NodeComputeInfo*, void*) noexcept {}

}  // namespace furiosa
