#include "furiosa_ep/provider/native/model_writer.h"

#include <algorithm>
#include <memory>
#include <unordered_set>

#include "furiosa_ep/provider/native/attribute_list.h"
#include "furiosa_ep/provider/native/protobuf_writer.h"

namespace furiosa {
namespace {

using ort::AttrType;

// Field numbers of onnx.proto.
namespace model {
constexpr uint32_t kIrVersion = 1, kProducer = 2, kGraph = 7, kOpsetImport = 8;
}
namespace opset {
constexpr uint32_t kDomain = 1, kVersion = 2;
}
namespace graph_proto {
constexpr uint32_t kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12,
                   kValueInfo = 13;
}
namespace node_proto {
constexpr uint32_t kInput = 1, kOutput = 2, kName = 3, kOpType = 4, kAttribute = 5, kDomain = 7;
}
namespace attribute {
constexpr uint32_t kName = 1, kFloat = 2, kInt = 3, kString = 4, kTensor = 5, kGraph = 6,
                   kFloats = 7, kInts = 8, kStrings = 9, kType = 20;
}  // namespace attribute
namespace tensor {
constexpr uint32_t kDims = 1, kDataType = 2, kStringData = 6, kName = 8, kRawData = 9,
                   kExternalData = 13, kDataLocation = 14;
constexpr int64_t kExternal = 1;
}  // namespace tensor
namespace entry {
constexpr uint32_t kKey = 1, kValue = 2;
}
namespace value_info {
constexpr uint32_t kName = 1, kType = 2;
}
namespace type {
constexpr uint32_t kTensorType = 1, kElementType = 1, kShape = 2, kDim = 1, kDimValue = 1,
                   kDimParam = 2;
}

// Initializers up to this size are written inline.
constexpr size_t kInlineBytes = 128;

class ModelWriter {
 public:
  ModelWriter(const Ort& ort, std::vector<std::span<const std::byte>>* constants)
      : ort_(ort), constants_(constants) {}

  void write_model(ProtobufWriter& out, const ort::Graph* graph,
                   std::span<const ort::Node* const> nodes,
                   std::span<const ort::ValueInfo* const> inputs,
                   std::span<const ort::ValueInfo* const> outputs) {
    out.integer(model::kIrVersion, ort_.get(ort::kGraphGetOnnxIrVersion, graph));
    out.bytes(model::kProducer, "FuriosaProvider");
    out.message(model::kGraph,
                [&](ProtobufWriter& o) { write_graph(o, graph, nodes, inputs, outputs); });
    std::vector<ort::CString> domains(ort_.get(ort::kGraphGetNumOperatorSets, graph));
    std::vector<int64_t> versions(domains.size());
    ort_.check(ort_.api[ort::kGraphGetOperatorSets](graph, domains.data(), versions.data(),
                                                    domains.size()));
    for (size_t i = 0; i < domains.size(); ++i) {
      out.message(model::kOpsetImport, [&](ProtobufWriter& o) {
        o.bytes(opset::kDomain, domains[i]);
        o.integer(opset::kVersion, versions[i]);
      });
    }
  }

 private:
  void write_graph(ProtobufWriter& out, const ort::Graph* graph,
                   std::span<const ort::Node* const> nodes,
                   std::span<const ort::ValueInfo* const> inputs,
                   std::span<const ort::ValueInfo* const> outputs) {
    std::unordered_set<std::string_view> described;
    out.bytes(graph_proto::kName, ort_.get(ort::kGraphGetName, graph));
    for (const ort::ValueInfo* input : inputs) {
      described.insert(value_name(ort_, input));
      if (is_constant(ort_, input)) continue;
      out.message(graph_proto::kInput, [&](ProtobufWriter& o) { write_value_info(o, input); });
    }
    for (const ort::ValueInfo* output : outputs) {
      described.insert(value_name(ort_, output));
      out.message(graph_proto::kOutput, [&](ProtobufWriter& o) { write_value_info(o, output); });
    }
    // In an order of its own: ONNX Runtime's is another one in every session.
    auto initializers = ort_.list(ort::kGraphGetNumInitializers, ort::kGraphGetInitializers, graph);
    std::ranges::sort(initializers, {}, [&](const auto* one) { return value_name(ort_, one); });
    for (const ort::ValueInfo* one : initializers) {
      if (!is_constant(ort_, one)) continue;
      const ort::Value* value = ort_.get(ort::kValueInfoGetInitializerValue, one);
      if (value == nullptr) continue;
      described.insert(value_name(ort_, one));
      out.message(graph_proto::kInitializer, [&](ProtobufWriter& o) {
        o.bytes(tensor::kName, value_name(ort_, one));
        write_tensor(o, value, kInlineBytes);
      });
    }
    for (const ort::Node* node : nodes) {
      const auto node_inputs = ort_.list(ort::kNodeGetNumInputs, ort::kNodeGetInputs, node);
      const auto node_outputs = ort_.list(ort::kNodeGetNumOutputs, ort::kNodeGetOutputs, node);
      out.message(graph_proto::kNode,
                  [&](ProtobufWriter& o) { write_node(o, node, node_inputs, node_outputs); });
      for (const auto* values : {&node_inputs, &node_outputs}) {
        for (const ort::ValueInfo* value : *values) {
          if (value == nullptr || !described.insert(value_name(ort_, value)).second) continue;
          out.message(graph_proto::kValueInfo,
                      [&](ProtobufWriter& o) { write_value_info(o, value); });
        }
      }
    }
  }

  void write_subgraph(ProtobufWriter& out, const ort::Graph* graph) {
    write_graph(out, graph, ort_.list(ort::kGraphGetNumNodes, ort::kGraphGetNodes, graph),
                ort_.list(ort::kGraphGetNumInputs, ort::kGraphGetInputs, graph),
                ort_.list(ort::kGraphGetNumOutputs, ort::kGraphGetOutputs, graph));
  }

  void write_value_info(ProtobufWriter& out, const ort::ValueInfo* value) {
    out.bytes(value_info::kName, value_name(ort_, value));
    const ValueType known = value_type(ort_, value);
    if (known.dtype == 0) return;
    out.message(value_info::kType, [&](ProtobufWriter& type_proto) {
      type_proto.message(type::kTensorType, [&](ProtobufWriter& o) {
        o.integer(type::kElementType, known.dtype);
        if (known.has_shape) {
          o.message(type::kShape, [&](ProtobufWriter& shape) { write_dims(shape, known); });
        }
      });
    });
  }

  static void write_dims(ProtobufWriter& out, const ValueType& known) {
    for (size_t i = 0; i < known.dims.size(); ++i) {
      out.message(type::kDim, [&](ProtobufWriter& dim) {
        if (known.dims[i] >= 0) {
          dim.integer(type::kDimValue, known.dims[i]);
        } else if (known.symbols[i] != nullptr && *known.symbols[i] != '\0') {
          dim.bytes(type::kDimParam, known.symbols[i]);
        }
      });
    }
  }

  void write_node(ProtobufWriter& out, const ort::Node* node,
                  std::span<const ort::ValueInfo* const> inputs,
                  std::span<const ort::ValueInfo* const> outputs) {
    for (const ort::ValueInfo* one : inputs) out.bytes(node_proto::kInput, value_name(ort_, one));
    for (const ort::ValueInfo* one : outputs) out.bytes(node_proto::kOutput, value_name(ort_, one));
    out.bytes(node_proto::kName, ort_.get(ort::kNodeGetName, node));
    out.bytes(node_proto::kOpType, ort_.get(ort::kNodeGetOperatorType, node));
    out.bytes(node_proto::kDomain, ort_.get(ort::kNodeGetDomain, node));
    for (const ort::OpAttr* one :
         ort_.list(ort::kNodeGetNumAttributes, ort::kNodeGetAttributes, node)) {
      if (ort_.get(ort::kOpAttrGetType, one) == AttrType::kGraph) continue;
      out.message(node_proto::kAttribute, [&](ProtobufWriter& o) { write_attribute(o, one); });
    }
    std::vector<const ort::Graph*> subgraphs(ort_.get(ort::kNodeGetNumSubgraphs, node));
    if (subgraphs.empty()) return;
    std::vector<ort::CString> names(subgraphs.size());
    ort_.check(
        ort_.api[ort::kNodeGetSubgraphs](node, subgraphs.data(), subgraphs.size(), names.data()));
    for (size_t i = 0; i < subgraphs.size(); ++i) {
      out.message(node_proto::kAttribute, [&](ProtobufWriter& o) {
        o.bytes(attribute::kName, names[i]);
        o.message(attribute::kGraph,
                  [&](ProtobufWriter& graph) { write_subgraph(graph, subgraphs[i]); });
        o.integer(attribute::kType, onnx_type(AttrType::kGraph));
      });
    }
  }

  void write_attribute(ProtobufWriter& out, const ort::OpAttr* attr) {
    const AttrType kind = ort_.get(ort::kOpAttrGetType, attr);
    out.bytes(attribute::kName, ort_.get(ort::kOpAttrGetName, attr));
    switch (kind) {
      case AttrType::kInt:
        for (int64_t one : ort_.read<int64_t>(attr, kind)) out.integer(attribute::kInt, one);
        break;
      case AttrType::kInts:
        for (int64_t one : ort_.read<int64_t>(attr, kind)) out.integer(attribute::kInts, one);
        break;
      case AttrType::kFloat:
        for (float one : ort_.read<float>(attr, kind)) out.real(attribute::kFloat, one);
        break;
      case AttrType::kFloats:
        for (float one : ort_.read<float>(attr, kind)) out.real(attribute::kFloats, one);
        break;
      case AttrType::kString: {
        const std::vector<char> text = ort_.read<char>(attr, kind);
        out.bytes(attribute::kString, {text.data(), text.size()});
        break;
      }
      case AttrType::kStrings: {
        const std::vector<char> text = ort_.read<char>(attr, kind);
        for (size_t at = 0; at < text.size();) {
          const std::string_view rest(text.data() + at, text.size() - at);
          const std::string_view one = rest.substr(0, rest.find('\0'));
          out.bytes(attribute::kStrings, one);
          at += one.size() + 1;
        }
        break;
      }
      case AttrType::kTensor: {
        ort::Value* value = nullptr;
        ort_.check(ort_.api[ort::kOpAttrGetTensor](attr, &value));
        const std::unique_ptr<ort::Value, void (*)(ort::Value*)> owner(
            value, ort_.api[ort::kReleaseValue]);
        out.message(attribute::kTensor,
                    [&](ProtobufWriter& o) { write_tensor(o, value, SIZE_MAX); });
        break;
      }
      default:
        break;
    }
    out.integer(attribute::kType, onnx_type(kind));
  }

  void write_tensor(ProtobufWriter& out, const ort::Value* value, size_t inline_bytes) {
    int dtype = 0;
    const int64_t* dims = nullptr;
    size_t rank = 0;
    ort_.check(ort_.api[ort::kGetTensorTypeAndShapeReference](value, &dtype, &dims, &rank));
    int64_t elements = 1;
    for (size_t i = 0; i < rank; ++i) {
      out.integer(tensor::kDims, dims[i]);
      elements *= dims[i];
    }
    out.integer(tensor::kDataType, dtype);
    if (dtype == ort::kStringElements) {
      for (int64_t i = 0; i < elements; ++i) {
        out.bytes(tensor::kStringData, string_element(value, static_cast<size_t>(i)));
      }
      return;
    }
    const void* data = nullptr;
    ort_.check(ort_.api[ort::kGetTensorData](value, &data));
    const size_t size = ort_.get(ort::kGetTensorSizeInBytes, value);
    if (size <= inline_bytes) {
      out.bytes(tensor::kRawData, {static_cast<const char*>(data), size});
      return;
    }
    write_entry(out, "location", "@mem");
    write_entry(out, "offset",
                std::to_string(place_of({static_cast<const std::byte*>(data), size})));
    write_entry(out, "length", std::to_string(size));
    out.integer(tensor::kDataLocation, tensor::kExternal);
  }

  // What stands for the bytes of a constant.
  uintptr_t place_of(std::span<const std::byte> bytes) {
    if (constants_ == nullptr) return reinterpret_cast<uintptr_t>(bytes.data());
    constants_->push_back(bytes);
    return constants_->size() - 1;
  }

  static void write_entry(ProtobufWriter& out, std::string_view key, std::string_view value) {
    out.message(tensor::kExternalData, [&](ProtobufWriter& o) {
      o.bytes(entry::kKey, key);
      o.bytes(entry::kValue, value);
    });
  }

  std::string string_element(const ort::Value* value, size_t index) {
    size_t size = 0;
    ort_.check(ort_.api[ort::kGetStringTensorElementLength](value, index, &size));
    std::string element(size, '\0');
    ort_.check(ort_.api[ort::kGetStringTensorElement](value, size, index, element.data()));
    return element;
  }

  const Ort& ort_;
  std::vector<std::span<const std::byte>>* const constants_;
};

}  // namespace

std::string write_model(const Ort& ort, const ort::Graph* graph,
                        std::span<const ort::Node* const> nodes,
                        std::span<const ort::ValueInfo* const> inputs,
                        std::span<const ort::ValueInfo* const> outputs,
                        std::vector<std::span<const std::byte>>* constants) {
  ProtobufWriter out;
  ModelWriter(ort, constants).write_model(out, graph, nodes, inputs, outputs);
  return std::move(out).take();
}

ValueType value_type(const Ort& ort, const ort::ValueInfo* value) {
  ValueType known;
  const ort::TypeInfo* type = ort.get(ort::kGetValueInfoTypeInfo, value);
  if (type == nullptr) return known;
  const auto* info = ort.get(ort::kCastTypeInfoToTensorInfo, type);
  if (info == nullptr) return known;
  known.dtype = ort.get(ort::kGetTensorElementType, info);
  known.has_shape = ort.api[ort::kTensorTypeAndShapeHasShape](info);
  if (!known.has_shape) return known;
  known.dims.resize(ort.get(ort::kGetDimensionsCount, info));
  known.symbols.resize(known.dims.size());
  ort.check(ort.api[ort::kGetDimensions](info, known.dims.data(), known.dims.size()));
  ort.check(ort.api[ort::kGetSymbolicDimensions](info, known.symbols.data(), known.dims.size()));
  return known;
}

std::string_view value_name(const Ort& ort, const ort::ValueInfo* value) {
  return value == nullptr ? std::string_view() : ort.get(ort::kGetValueInfoName, value);
}

bool is_constant(const Ort& ort, const ort::ValueInfo* value) {
  return value != nullptr && ort.get(ort::kValueInfoIsConstantInitializer, value);
}

}  // namespace furiosa
