#include "furiosa_ep/provider/native/attribute_list.h"

namespace furiosa {

void AttributeList::add_tensor(const Ort& ort, const char* name, ort::Value* value) {
  keep(std::shared_ptr<ort::Value>(value, ort.api[ort::kReleaseValue]));
  const auto tensor = keep(std::make_shared<FuriosaTensor>(describe_tensor(ort, value)));
  items_.push_back({name, tensor.get(), 1, kTensor, 0});
}

FuriosaTensor describe_tensor(const Ort& ort, const ort::Value* value) {
  FuriosaTensor tensor{};
  size_t rank = 0;
  ort.check(
      ort.api[ort::kGetTensorTypeAndShapeReference](value, &tensor.dtype, &tensor.dims, &rank));
  tensor.rank = static_cast<int32_t>(rank);
  // Strings are objects of ONNX Runtime's.
  if (tensor.dtype != ort::kStringElements) {
    ort.check(ort.api[ort::kGetTensorData](value, &tensor.data));
  }
  return tensor;
}

}  // namespace furiosa
