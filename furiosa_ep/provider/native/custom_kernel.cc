#include "furiosa_ep/provider/native/custom_kernel.h"

#include <algorithm>
#include <string>

#include "device_emulator/native/program.h"
#include "furiosa_ep/provider/native/attribute_list.h"
#include "furiosa_ep/provider/native/execution_provider.h"
#include "furiosa_ep/provider/native/small_buffer.h"

namespace furiosa {
namespace {

constexpr size_t kFewTensors = 16;

// Reads the attributes of a node by name and type, the only way that there is.
class AttributeReader {
 public:
  AttributeReader(const Ort& ort, const ort::KernelInfo* info) : ort_(ort), info_(info) {}

  // Adds the attribute to `list` if the node has it.
  void read(const char* name, int type, AttributeList& list) const {
    float real = 0;
    int64_t integer = 0;
    size_t size = 0;
    ort::Value* tensor = nullptr;
    if (get(ort::kKernelInfoGetFloat, name, &real)) {
      add(name, kFloat, type, std::vector{real}, list);
    } else if (get(ort::kKernelInfoGetInt, name, &integer)) {
      add(name, kInt, type, std::vector{integer}, list);
    } else if (get(ort::kKernelInfoGetString, name, nullptr, &size)) {
      add(name, kString, type, text(name, size), list);
    } else if (get(ort::kKernelInfoGetTensor, name, allocator(), &tensor)) {
      if (type == kTensor) return list.add_tensor(ort_, name, tensor);
      ort_.api[ort::kReleaseValue](tensor);
      list.add_unexpected(name, kTensor);
    } else {
      read_list(name, type, list);
    }
  }

 private:
  // ONNX Runtime reads a list of one type as an empty one of the other.
  void read_list(const char* name, int type, AttributeList& list) const {
    size_t reals = 0;
    size_t integers = 0;
    const bool found = get(ort::kKernelInfoGetFloats, name, nullptr, &reals);
    if (!get(ort::kKernelInfoGetInts, name, nullptr, &integers) && !found) return;
    if (reals > 0 || (integers == 0 && type == kFloats)) {
      add(name, kFloats, type, array<float>(ort::kKernelInfoGetFloats, name, reals), list);
    } else if (integers > 0 || type == kInts) {
      add(name, kInts, type, array<int64_t>(ort::kKernelInfoGetInts, name, integers), list);
    } else {
      list.add_unexpected(name, kNoType);
    }
  }

  template <class T>
  static void add(const char* name, int found, int expected, std::vector<T> values,
                  AttributeList& list) {
    if (found == expected) {
      list.add(name, found, std::move(values));
    } else {
      list.add_unexpected(name, found);
    }
  }

  template <class... Results>
  bool get(ort::ApiSlot<ort::Status*(const ort::KernelInfo*, ort::CString, Results...)> slot,
           const char* name, std::type_identity_t<Results>... results) const {
    return ort_.succeeded(ort_.api[slot](info_, name, results...));
  }

  std::vector<char> text(const char* name, size_t size) const {
    std::vector<char> characters(size);
    ort_.check(ort_.api[ort::kKernelInfoGetString](info_, name, characters.data(), &size));
    characters.pop_back();  // the NUL
    return characters;
  }

  template <class T>
  std::vector<T> array(
      ort::ApiSlot<ort::Status*(const ort::KernelInfo*, ort::CString, T*, size_t*)> slot,
      const char* name, size_t size) const {
    std::vector<T> values(size);
    if (size != 0) ort_.check(ort_.api[slot](info_, name, values.data(), &size));
    return values;
  }

  ort::Allocator* allocator() const {
    ort::Allocator* shared = nullptr;
    ort_.check(ort_.api[ort::kGetAllocatorWithDefaultOptions](&shared));
    return shared;
  }

  const Ort& ort_;
  const ort::KernelInfo* const info_;
};

std::string node_name(const Ort& ort, const ort::KernelInfo* info) {
  size_t size = 0;
  ort.check(ort.api[ort::kKernelInfoGetNodeName](info, nullptr, &size));
  std::string name(size, '\0');
  ort.check(ort.api[ort::kKernelInfoGetNodeName](info, name.data(), &size));
  return name;
}

std::string output_name(const Ort& ort, const ort::KernelInfo* info, size_t index) {
  size_t size = 0;
  ort.check(ort.api[ort::kKernelInfoGetOutputName](info, index, nullptr, &size));
  std::string name(size, '\0');
  ort.check(ort.api[ort::kKernelInfoGetOutputName](info, index, name.data(), &size));
  name.pop_back();  // the NUL
  return name;
}

int output_dtype(const Ort& ort, const ort::KernelInfo* info, size_t index) {
  ort::TypeInfo* type = nullptr;
  ort.check(ort.api[ort::kKernelInfoGetOutputTypeInfo](info, index, &type));
  const std::unique_ptr<ort::TypeInfo, void (*)(ort::TypeInfo*)> owner(
      type, ort.api[ort::kReleaseTypeInfo]);
  const auto* tensor = ort.get(ort::kCastTypeInfoToTensorInfo, type);
  return tensor == nullptr ? ort::kUndefinedElements : ort.get(ort::kGetTensorElementType, tensor);
}

}  // namespace

CustomKernel::CustomKernel(const Ort& ort, const Operator& one, const ort::KernelInfo* info)
    : ort_(ort) {
  AttributeList attributes;
  for (const Operator::Attribute& attribute : one.attributes) {
    AttributeReader(ort, info).read(attribute.name.c_str(), attribute.type, attributes);
  }
  const std::string name = node_name(ort, info);
  const size_t count = ort.get(ort::kKernelInfoGetOutputCount, info);
  std::vector<std::string> names;
  std::vector<const char*> texts;
  std::vector<int32_t> dtypes;
  for (size_t i = 0; i < count; ++i) {
    wanted_.push_back(!names.emplace_back(output_name(ort, info, i)).empty());
    dtypes.push_back(wanted_[i] ? output_dtype(ort, info, i) : ort::kUndefinedElements);
  }
  for (const std::string& text : names) texts.push_back(text.c_str());
  const FuriosaNode node{name.c_str(),  texts.data(),
                         dtypes.data(), attributes.items().data(),
                         count,         attributes.items().size()};
  const std::shared_ptr<const Session> session = initializing_session();
  handle_ = compiler::create_kernel(one, node, session == nullptr ? nullptr : &session->handle);
}

void CustomKernel::compute(ort::KernelContext* context) const {
  SmallBuffer<FuriosaTensor, kFewTensors> inputs(
      ort_.get(ort::kKernelContextGetInputCount, context));
  for (size_t i = 0; i < inputs.span().size(); ++i) {
    const ort::Value* value = nullptr;
    ort_.check(ort_.api[ort::kKernelContextGetInput](context, i, &value));
    inputs[i] = value == nullptr ? FuriosaTensor{} : describe_tensor(ort_, value);
  }
  std::vector<bool> missing = wanted_;
  compiler::compute(handle_, inputs.span(), [&](size_t index, const FuriosaTensor& output) {
    if (index >= wanted_.size() || !wanted_[index]) return static_cast<void*>(nullptr);
    if (output.rank < 0) throw Error("output " + std::to_string(index) + " has no shape");
    const std::span<const int64_t> dims(output.dims, static_cast<size_t>(output.rank));
    if (std::ranges::any_of(dims, [](int64_t dim) { return dim < 0; })) {
      throw Error("output " + std::to_string(index) + " has a negative dim");
    }
    ort::Value* value = nullptr;
    ort_.check(
        ort_.api[ort::kKernelContextGetOutput](context, index, dims.data(), dims.size(), &value));
    if (describe_tensor(ort_, value).dtype != output.dtype) {
      throw Error("output " + std::to_string(index) + " has not the type that the model says");
    }
    missing[index] = false;
    void* data = nullptr;
    ort_.check(ort_.api[ort::kGetTensorMutableData](value, &data));
    return data;
  });
  const auto gap = std::ranges::find(missing, true);
  if (gap != missing.end()) {
    throw Error("output " + std::to_string(gap - missing.begin()) + " was not computed");
  }
}

}  // namespace furiosa
