#include "device_emulator/native/program.h"

namespace furiosa {

size_t element_size(DType dtype) {
  switch (dtype) {
    case DType::kU8:
    case DType::kI8:
    case DType::kBool:
      return 1;
    case DType::kI16:
      return 2;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kI64:
      return 8;
  }
  return 0;
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kU8:
      return "u8";
    case DType::kI8:
      return "i8";
    case DType::kI16:
      return "i16";
    case DType::kI32:
      return "i32";
    case DType::kI64:
      return "i64";
    case DType::kBool:
      return "bool";
  }
  return "unknown";
}

int64_t Tensor::elements() const {
  int64_t product = 1;
  for (const int64_t one : dims()) product *= one;
  return product;
}

bool Tensor::contiguous() const {
  int64_t expected = 1;
  for (uint32_t i = rank; i-- > 0;) {
    if (dim[i] == 0) return true;
    if (dim[i] != 1 && stride[i] != expected) return false;
    expected *= dim[i];
  }
  return true;
}

Tensor::Extent Tensor::extent() const {
  if (elements() == 0) return {offset, offset};
  const auto item = static_cast<int64_t>(element_size(dtype));
  auto begin = static_cast<int64_t>(offset);
  int64_t end = begin + item;
  for (uint32_t i = 0; i < rank; ++i) {
    const int64_t reach = (dim[i] - 1) * stride[i] * item;
    (reach < 0 ? begin : end) += reach;
  }
  return {static_cast<size_t>(begin), static_cast<size_t>(end)};
}

}  // namespace furiosa
