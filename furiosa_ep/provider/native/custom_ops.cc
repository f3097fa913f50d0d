#include "furiosa_ep/provider/native/custom_ops.h"

#include <algorithm>
#include <atomic>
#include <forward_list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "furiosa_ep/provider/native/attribute_list.h"
#include "furiosa_ep/provider/native/custom_kernel.h"

namespace furiosa {
namespace {

// The session config entry that says which options have the domains.
constexpr char kMark[] = "furiosa_ep.custom_ops";

const FuriosaOperand* variadic(std::span<const FuriosaOperand> operands) {
  const bool last =
      !operands.empty() && operands.back().presence == static_cast<int>(ort::Presence::kVariadic);
  return last ? &operands.back() : nullptr;
}

// How many outputs every node has. ONNX Runtime does not tell how many a node has, and writes past
// their end if it is given more.
size_t least_count(std::span<const FuriosaOperand> operands) {
  size_t count = 0;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i].presence == static_cast<int>(ort::Presence::kRequired)) count = i + 1;
  }
  const FuriosaOperand* const last = variadic(operands);
  return last == nullptr || last->least == 0
             ? count
             : operands.size() - 1 + static_cast<size_t>(last->least);
}

// A dim that is neither known nor named. ONNX Runtime takes -1 for a size, and one name for one
// size, so each gets a name that nothing else has.
std::string fresh_symbol() {
  static std::atomic<uint64_t> count{0};
  return "furiosa_dim_" + std::to_string(count.fetch_add(1));
}

// The value of a session config entry, "" where there is none.
std::string config_entry(const Ort& ort, const ort::SessionOptions* options, const char* key) {
  int exists = 0;
  ort.check(ort.api[ort::kHasSessionConfigEntry](options, key, &exists));
  if (exists == 0) return {};
  size_t size = 0;
  ort.check(ort.api[ort::kGetSessionConfigEntry](options, key, nullptr, &size));
  std::string value(size, '\0');
  ort.check(ort.api[ort::kGetSessionConfigEntry](options, key, value.data(), &size));
  value.pop_back();  // the NUL
  return value;
}

// What ONNX Runtime knows of a node's inputs, in the form that the compiler takes.
class KnownInputs {
 public:
  KnownInputs(const Ort& ort, const ort::ShapeInferContext* context) : ort_(ort) {
    const size_t count = ort.get(ort::kShapeInferGetInputCount, context);
    for (size_t i = 0; i < count; ++i) {
      ort::TensorTypeAndShapeInfo* info = nullptr;
      ort.check(ort.api[ort::kShapeInferGetInput](context, i, &info));
      tensors_.push_back(describe(info));
    }
  }

  std::span<const FuriosaTensor> tensors() const { return tensors_; }

 private:
  FuriosaTensor describe(const ort::TensorTypeAndShapeInfo* info) {
    FuriosaTensor tensor{nullptr, nullptr, nullptr, -1, ort_.get(ort::kGetTensorElementType, info)};
    if (!ort_.api[ort::kTensorTypeAndShapeHasShape](info)) return tensor;
    std::vector<int64_t>& dims = dims_.emplace_front(ort_.get(ort::kGetDimensionsCount, info));
    std::vector<ort::CString>& symbols = symbols_.emplace_front(dims.size());
    if (dims.empty()) return tensor;  // a scalar, or a rank that is not known: it does not say
    ort_.check(ort_.api[ort::kGetDimensions](info, dims.data(), dims.size()));
    ort_.check(ort_.api[ort::kGetSymbolicDimensions](info, symbols.data(), symbols.size()));
    tensor.dims = dims.data();
    tensor.symbols = symbols.data();
    tensor.rank = static_cast<int32_t>(dims.size());
    return tensor;
  }

  const Ort& ort_;
  std::vector<FuriosaTensor> tensors_;
  std::forward_list<std::vector<int64_t>> dims_;
  std::forward_list<std::vector<ort::CString>> symbols_;
};

AttributeList read_attributes(const Ort& ort, const ort::ShapeInferContext* context,
                              const Operator& one) {
  AttributeList list;
  for (const Operator::Attribute& declared : one.attributes) {
    const char* const name = declared.name.c_str();
    const ort::OpAttr* attribute = nullptr;
    if (!ort.succeeded(ort.api[ort::kShapeInferGetAttribute](context, name, &attribute))) continue;
    const ort::AttrType type = ort.get(ort::kOpAttrGetType, attribute);
    if (onnx_type(type) != declared.type) continue;  // the kernel reports it
    if (declared.type == kFloat || declared.type == kFloats) {
      list.add(name, declared.type, ort.read<float>(attribute, type));
    } else if (declared.type == kInt || declared.type == kInts) {
      list.add(name, declared.type, ort.read<int64_t>(attribute, type));
    } else if (declared.type == kString) {
      list.add(name, declared.type, ort.read<char>(attribute, type));
    } else if (declared.type == kTensor) {
      ort::Value* value = nullptr;
      ort.check(ort.api[ort::kOpAttrGetTensor](attribute, &value));
      list.add_tensor(ort, name, value);
    }
  }
  return list;
}

// An operator in one combination of types, as ONNX Runtime sees it.
class CustomOp final : public ort::CustomOp {
 public:
  CustomOp(const Ort& ort, Operator one)
      : ort::CustomOp{},
        ort_(ort),
        operator_(std::move(one)),
        sure_outputs_(least_count(operator_.outputs)) {
    version = ort.version;
    GetName = [](const ort::CustomOp* self) noexcept { return of(self).type.c_str(); };
    GetExecutionProviderType = [](const ort::CustomOp*) noexcept -> ort::CString {
      return nullptr;
    };
    GetInputType = [](const ort::CustomOp* self, size_t i) noexcept {
      return static_cast<int>(of(self).inputs[i].dtype);
    };
    GetInputTypeCount = [](const ort::CustomOp* self) noexcept { return of(self).inputs.size(); };
    GetOutputType = [](const ort::CustomOp* self, size_t i) noexcept {
      return static_cast<int>(of(self).outputs[i].dtype);
    };
    GetOutputTypeCount = [](const ort::CustomOp* self) noexcept { return of(self).outputs.size(); };
    GetInputCharacteristic = [](const ort::CustomOp* self, size_t i) noexcept {
      return static_cast<ort::Presence>(of(self).inputs[i].presence);
    };
    GetOutputCharacteristic = [](const ort::CustomOp* self, size_t i) noexcept {
      return static_cast<ort::Presence>(of(self).outputs[i].presence);
    };
    GetInputMemoryType = [](const ort::CustomOp*, size_t) noexcept { return 0; };
    GetVariadicInputMinArity = [](const ort::CustomOp* self) noexcept {
      const FuriosaOperand* last = variadic(of(self).inputs);
      return last == nullptr ? 1 : static_cast<int>(last->least);
    };
    GetVariadicInputHomogeneity = [](const ort::CustomOp*) noexcept { return 1; };
    GetVariadicOutputMinArity = [](const ort::CustomOp* self) noexcept {
      const FuriosaOperand* last = variadic(of(self).outputs);
      return last == nullptr ? 1 : static_cast<int>(last->least);
    };
    GetVariadicOutputHomogeneity = [](const ort::CustomOp*) noexcept { return 1; };
    GetStartVersion = [](const ort::CustomOp* self) noexcept { return of(self).since; };
    InferOutputShapeFn = [](const ort::CustomOp* self,
                            ort::ShapeInferContext* context) noexcept -> ort::Status* {
      const auto& op = static_cast<const CustomOp&>(*self);
      // ONNX Runtime would leak the status; what fails here is reported by the compiler.
      op.ort_.succeeded(op.ort_.guard([&] { op.infer(context); }));
      return nullptr;
    };
    CreateKernelV2 = [](const ort::CustomOp* self, const void*, const ort::KernelInfo* info,
                        void** kernel) noexcept {
      const auto& op = static_cast<const CustomOp&>(*self);
      return op.ort_.guard([&] { *kernel = new Kernel{op, {op.ort_, op.operator_, info}}; });
    };
    KernelComputeV2 = [](void* kernel, ort::KernelContext* context) noexcept {
      const auto& [op, custom] = *static_cast<const Kernel*>(kernel);
      return op.ort_.guard([&] { custom.compute(context); });
    };
    KernelDestroy = [](void* kernel) noexcept { delete static_cast<Kernel*>(kernel); };
  }

 private:
  struct Kernel {
    const CustomOp& op;
    CustomKernel custom;
  };

  static const Operator& of(const ort::CustomOp* self) {
    return static_cast<const CustomOp&>(*self).operator_;
  }

  void infer(ort::ShapeInferContext* context) const {
    const KnownInputs known(ort_, context);
    const std::span<const FuriosaTensor> inputs = known.tensors();
    if (operator_.infers_shapes) {
      const AttributeList attributes = read_attributes(ort_, context, operator_);
      compiler::infer(operator_, inputs, attributes.items(),
                      [&](size_t index, const FuriosaTensor& shape) {
                        set_output(context, inputs, index, shape);
                      });
    } else if (!inputs.empty()) {
      for (size_t i = 0; i < sure_outputs_; ++i) set_output(context, inputs, i, inputs[0]);
    }
  }

  void set_output(ort::ShapeInferContext* context, std::span<const FuriosaTensor> inputs,
                  size_t index, const FuriosaTensor& shape) const {
    if (index >= sure_outputs_ || shape.rank < 0) return;
    const FuriosaOperand& output = operator_.outputs[std::min(index, operator_.outputs.size() - 1)];
    int dtype = output.dtype;
    if (output.source >= 0 && static_cast<size_t>(output.source) < inputs.size()) {
      dtype = inputs[static_cast<size_t>(output.source)].dtype;
    }
    if (dtype == ort::kUndefinedElements) return;
    ort::TensorTypeAndShapeInfo* made = nullptr;
    ort_.check(ort_.api[ort::kCreateTensorTypeAndShapeInfo](&made));
    const std::unique_ptr<ort::TensorTypeAndShapeInfo, void (*)(ort::TensorTypeAndShapeInfo*)> info(
        made, ort_.api[ort::kReleaseTensorTypeAndShapeInfo]);
    const auto rank = static_cast<size_t>(shape.rank);
    std::vector<std::string> names(rank);
    std::vector<ort::CString> symbols(rank);
    for (size_t i = 0; i < rank; ++i) {
      if (shape.dims[i] < 0) {
        if (shape.symbols != nullptr && shape.symbols[i] != nullptr) names[i] = shape.symbols[i];
        if (names[i].empty()) names[i] = fresh_symbol();
      }
      symbols[i] = names[i].c_str();
    }
    ort_.check(ort_.api[ort::kSetTensorElementType](made, dtype));
    ort_.check(ort_.api[ort::kSetDimensions](made, shape.dims, rank));
    ort_.check(ort_.api[ort::kSetSymbolicDimensions](made, symbols.data(), rank));
    ort_.check(ort_.api[ort::kShapeInferSetOutput](context, index, made));
  }

  const Ort& ort_;
  const Operator operator_;
  const size_t sure_outputs_;
};

// The domains of one ONNX Runtime for one state of the plugins. Never freed.
class Domains {
 public:
  Domains(const Ort& ort, std::vector<Operator> operators) : ort_(ort) {
    std::map<std::string, ort::CustomOpDomain*> by_name;
    for (Operator& one : operators) {
      ort::CustomOpDomain*& domain = by_name[one.domain];
      if (domain == nullptr) {
        ort_.check(ort_.api[ort::kCreateCustomOpDomain](one.domain.c_str(), &domain));
        list_.push_back(domain);
      }
      const auto* op = new CustomOp(ort_, std::move(one));
      ort_.check(ort_.api[ort::kCustomOpDomainAdd](domain, op));
    }
  }

  std::span<ort::CustomOpDomain* const> list() const { return list_; }

 private:
  const Ort ort_;  // a copy: the factory may go before
  std::vector<ort::CustomOpDomain*> list_;
};

struct Current {
  uint64_t generation = 0;
  const Domains* domains = nullptr;
};

}  // namespace

std::span<ort::CustomOpDomain* const> custom_op_domains(const Ort& ort) {
  static std::mutex mutex;
  static auto& by_runtime = *new std::map<const void*, Current>();
  std::unique_lock lock(mutex);
  Current current = by_runtime[ort.api.address()];
  // The compiler takes Python's GIL, whose owner may wait for the mutex.
  lock.unlock();
  std::optional<std::vector<Operator>> operators = compiler::operators(current.generation);
  if (operators.has_value()) {
    lock.lock();
    Current& shared = by_runtime[ort.api.address()];
    if (shared.generation != current.generation) {
      shared = {current.generation, new Domains(ort, *std::move(operators))};
    }
    current = shared;
  }
  if (current.domains == nullptr) return {};
  return current.domains->list();
}

void add_custom_op_domains(const Ort& ort, ort::SessionOptions* options) {
  // Options that were copied have the entries of the others, but not their domains.
  const std::string self = std::to_string(reinterpret_cast<uintptr_t>(options));
  if (config_entry(ort, options, kMark) == self) return;
  const auto domains = custom_op_domains(ort);
  if (domains.empty()) return;
  for (ort::CustomOpDomain* domain : domains) {
    ort.check(ort.api[ort::kAddCustomOpDomain](options, domain));
  }
  ort.check(ort.api[ort::kAddSessionConfigEntry](options, kMark, self.c_str()));
}

}  // namespace furiosa
