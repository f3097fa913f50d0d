#ifndef FURIOSA_EP_PROVIDER_NATIVE_MODEL_WRITER_H_
#define FURIOSA_EP_PROVIDER_NATIVE_MODEL_WRITER_H_

#include <span>
#include <string>
#include <vector>

#include "furiosa_ep/provider/native/ort.h"

namespace furiosa {

// A graph of ONNX Runtime as a serialized onnx.ModelProto: `nodes` in the order given, with all
// attributes, subgraphs and known types. Constant initializers above 128 bytes are external data
// at location "@mem" whose offset is their address, valid as long as the graph is; initializers
// that a caller can override are inputs without a value. `inputs` and `outputs` set the order of
// the graph's, without the constant ones among them.
//
// With `constants`, external data goes there instead, and its offset is its position: then equal
// graphs with equal constants give the same bytes, wherever they lie.
std::string write_model(const Ort& ort, const ort::Graph* graph,
                        std::span<const ort::Node* const> nodes,
                        std::span<const ort::ValueInfo* const> inputs,
                        std::span<const ort::ValueInfo* const> outputs,
                        std::vector<std::span<const std::byte>>* constants = nullptr);

// Element type and dims of a value as far as ONNX Runtime knows them.
struct ValueType {
  int dtype = 0;           // 0 where the value is no tensor or its type is unknown
  bool has_shape = false;  // false where not even the rank is known
  std::vector<int64_t> dims;
  std::vector<ort::CString> symbols;  // the name of each dim that is -1, "" where it has none
};
ValueType value_type(const Ort& ort, const ort::ValueInfo* value);

std::string_view value_name(const Ort& ort, const ort::ValueInfo* value);

bool is_constant(const Ort& ort, const ort::ValueInfo* value);

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_MODEL_WRITER_H_
