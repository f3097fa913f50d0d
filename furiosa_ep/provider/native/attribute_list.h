#ifndef FURIOSA_EP_PROVIDER_NATIVE_ATTRIBUTE_LIST_H_
#define FURIOSA_EP_PROVIDER_NATIVE_ATTRIBUTE_LIST_H_

#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "furiosa_ep/provider/native/compiler_callbacks.h"
#include "furiosa_ep/provider/native/ort.h"

namespace furiosa {

// An attribute's type as ONNX numbers it, 0 for one that is not known.
constexpr int onnx_type(ort::AttrType type) {
  constexpr int kTypes[] = {0, 2, 7, 1, 6, 3, 8, 5, 4};
  const auto index = static_cast<size_t>(type);
  return index < std::size(kTypes) ? kTypes[index] : 0;
}

// Of onnx.AttributeProto.AttributeType.
enum AttributeType : int {
  kNoType = 0,
  kFloat = 1,
  kInt = 2,
  kString = 3,
  kTensor = 4,
  kFloats = 6,
  kInts = 7,
};

// Attributes of a node as the compiler takes them, and the memory they point to.
class AttributeList {
 public:
  template <class T>
  void add(const char* name, int type, std::vector<T> values) {
    const auto kept = keep(std::make_shared<std::vector<T>>(std::move(values)));
    // An empty list has data as well, so that it is told from an attribute of another type.
    const void* data = kept->empty() ? static_cast<const void*>(kept.get()) : kept->data();
    items_.push_back({name, data, kept->size(), type, 0});
  }

  // Takes `value`, whose elements are no strings.
  void add_tensor(const Ort& ort, const char* name, ort::Value* value);

  // An attribute that is not of the type that the operator declares.
  void add_unexpected(const char* name, int type) { items_.push_back({name, nullptr, 0, type, 0}); }

  std::span<const FuriosaAttribute> items() const { return items_; }

 private:
  template <class T>
  std::shared_ptr<T> keep(std::shared_ptr<T> one) {
    kept_.push_back(one);
    return one;
  }

  std::vector<FuriosaAttribute> items_;
  std::vector<std::shared_ptr<const void>> kept_;
};

// A tensor of ONNX Runtime as the compiler sees it; its memory stays that of `value`.
FuriosaTensor describe_tensor(const Ort& ort, const ort::Value* value);

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_ATTRIBUTE_LIST_H_
