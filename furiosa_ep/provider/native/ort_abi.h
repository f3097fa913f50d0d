#ifndef FURIOSA_EP_PROVIDER_NATIVE_ORT_ABI_H_
#define FURIOSA_EP_PROVIDER_NATIVE_ORT_ABI_H_

// The part of ONNX Runtime's C ABI that the provider uses. Its function tables only ever grow, so
// a function is its slot number and its signature; structures grow at the end, and the member
// `version` tells ONNX Runtime how far it may read.

#include <cstddef>
#include <cstdint>

namespace furiosa::ort {

// The API version of ONNX Runtime 1.26, the oldest that is supported, and the newest that the
// structures below describe.
inline constexpr uint32_t kOldestApi = 26;
inline constexpr uint32_t kNewestApi = 29;

struct Allocator;
struct CustomOpDomain;
struct DataTransfer;
struct EpDevice;
struct Graph;
struct GraphSupportInfo;
struct HardwareDevice;
struct KernelContext;
struct KernelInfo;
struct KeyValuePairs;
struct Logger;
struct MemoryInfo;
struct Node;
struct NodeComputeContext;
struct OpAttr;
struct ProfilingEvent;
struct ProfilingEvents;
struct SessionOptions;
struct ShapeInferContext;
struct Status;
struct TensorTypeAndShapeInfo;
struct TypeInfo;
struct Value;
struct ValueInfo;

enum class ErrorCode : int {
  kFail = 1,
  kInvalidArgument = 2,
  kRuntimeException = 6,
  kNotImplemented = 9,
  // 11, EP_FAIL, makes the Python wrapper rebuild the session on the CPU without a word: never used
};
enum class Presence : int { kRequired = 0, kOptional = 1, kVariadic = 2 };
enum class Severity : int { kVerbose = 0, kInfo = 1, kWarning = 2, kError = 3 };
enum class HardwareType : int { kCpu = 0, kGpu = 1, kNpu = 2 };
enum class ProfilingCategory : int { kSession = 0, kNode = 1, kKernel = 2, kApi = 3 };
enum class AttrType : int {
  kUndefined = 0,
  kInt = 1,
  kInts = 2,
  kFloat = 3,
  kFloats = 4,
  kString = 5,
  kStrings = 6,
  kGraph = 7,
  kTensor = 8,
};
inline constexpr int kUndefinedElements = 0;
inline constexpr int kStringElements = 8;  // the element type of string tensors

// A table of functions; table[kSlot] is the typed function in that slot.
template <class Tag, class Signature>
struct Slot {
  size_t index;
};
template <class Tag>
class Table {
 public:
  Table() = default;
  explicit Table(const void* slots) : slots_(static_cast<void* const*>(slots)) {}
  template <class Signature>
  Signature* operator[](Slot<Tag, Signature> slot) const {
    return reinterpret_cast<Signature*>(slots_[slot.index]);
  }
  // Tells one ONNX Runtime from another.
  const void* address() const { return slots_; }

 private:
  void* const* slots_ = nullptr;
};

struct ApiBase {
  const void* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

struct ApiTag;
struct EpApiTag;
using Api = Table<ApiTag>;
using EpApi = Table<EpApiTag>;
template <class Signature>
using ApiSlot = Slot<ApiTag, Signature>;
template <class Signature>
using EpApiSlot = Slot<EpApiTag, Signature>;

using CString = const char*;
struct CustomOp;

// OrtApi.
inline constexpr ApiSlot<Status*(ErrorCode, CString)> kCreateStatus{0};
inline constexpr ApiSlot<CString(const Status*)> kGetErrorMessage{2};
inline constexpr ApiSlot<Status*(CString, CustomOpDomain**)> kCreateCustomOpDomain{26};
inline constexpr ApiSlot<Status*(CustomOpDomain*, const CustomOp*)> kCustomOpDomainAdd{27};
inline constexpr ApiSlot<Status*(SessionOptions*, CustomOpDomain*)> kAddCustomOpDomain{28};
inline constexpr ApiSlot<Status*(Value*, void**)> kGetTensorMutableData{51};
inline constexpr ApiSlot<Status*(const TypeInfo*, const TensorTypeAndShapeInfo**)>
    kCastTypeInfoToTensorInfo{55};
inline constexpr ApiSlot<Status*(TensorTypeAndShapeInfo**)> kCreateTensorTypeAndShapeInfo{57};
inline constexpr ApiSlot<Status*(TensorTypeAndShapeInfo*, int)> kSetTensorElementType{58};
inline constexpr ApiSlot<Status*(TensorTypeAndShapeInfo*, const int64_t*, size_t)> kSetDimensions{
    59};
inline constexpr ApiSlot<Status*(const TensorTypeAndShapeInfo*, int*)> kGetTensorElementType{60};
inline constexpr ApiSlot<Status*(const TensorTypeAndShapeInfo*, size_t*)> kGetDimensionsCount{61};
inline constexpr ApiSlot<Status*(const TensorTypeAndShapeInfo*, int64_t*, size_t)> kGetDimensions{
    62};
inline constexpr ApiSlot<Status*(const TensorTypeAndShapeInfo*, CString*, size_t)>
    kGetSymbolicDimensions{63};
inline constexpr ApiSlot<Status*(Allocator**)> kGetAllocatorWithDefaultOptions{78};
inline constexpr ApiSlot<Status*(const KernelInfo*, CString, float*)> kKernelInfoGetFloat{85};
inline constexpr ApiSlot<Status*(const KernelInfo*, CString, int64_t*)> kKernelInfoGetInt{86};
inline constexpr ApiSlot<Status*(const KernelInfo*, CString, char*, size_t*)> kKernelInfoGetString{
    87};
inline constexpr ApiSlot<Status*(const KernelContext*, size_t*)> kKernelContextGetInputCount{88};
inline constexpr ApiSlot<Status*(const KernelContext*, size_t, const Value**)>
    kKernelContextGetInput{90};
inline constexpr ApiSlot<Status*(KernelContext*, size_t, const int64_t*, size_t, Value**)>
    kKernelContextGetOutput{91};
inline constexpr ApiSlot<void(Status*)> kReleaseStatus{93};
inline constexpr ApiSlot<void(Value*)> kReleaseValue{96};
inline constexpr ApiSlot<void(TypeInfo*)> kReleaseTypeInfo{98};
inline constexpr ApiSlot<void(TensorTypeAndShapeInfo*)> kReleaseTensorTypeAndShapeInfo{99};
inline constexpr ApiSlot<Status*(const Value*, size_t, size_t*)> kGetStringTensorElementLength{127};
inline constexpr ApiSlot<Status*(const Value*, size_t, size_t, void*)> kGetStringTensorElement{128};
inline constexpr ApiSlot<Status*(SessionOptions*, CString, CString)> kAddSessionConfigEntry{130};
inline constexpr ApiSlot<Status*(const KernelInfo*, CString, float*, size_t*)> kKernelInfoGetFloats{
    162};
inline constexpr ApiSlot<Status*(const KernelInfo*, CString, int64_t*, size_t*)> kKernelInfoGetInts{
    163};
inline constexpr ApiSlot<Status*(const KernelInfo*, size_t*)> kKernelInfoGetOutputCount{231};
inline constexpr ApiSlot<Status*(const KernelInfo*, size_t, char*, size_t*)>
    kKernelInfoGetOutputName{233};
inline constexpr ApiSlot<Status*(const KernelInfo*, size_t, TypeInfo**)>
    kKernelInfoGetOutputTypeInfo{235};
inline constexpr ApiSlot<Status*(const KernelInfo*, CString, Allocator*, Value**)>
    kKernelInfoGetTensor{236};
inline constexpr ApiSlot<Status*(const SessionOptions*, CString, int*)> kHasSessionConfigEntry{237};
inline constexpr ApiSlot<Status*(const SessionOptions*, CString, char*, size_t*)>
    kGetSessionConfigEntry{238};
inline constexpr ApiSlot<Status*(const KernelInfo*, char*, size_t*)> kKernelInfoGetNodeName{244};
inline constexpr ApiSlot<Status*(const KernelContext*, const Logger**)> kKernelContextGetLogger{
    246};
inline constexpr ApiSlot<Status*(const Logger*, Severity, CString, CString, int, CString)>
    kLoggerLogMessage{247};
inline constexpr ApiSlot<Status*(const ShapeInferContext*, size_t*)> kShapeInferGetInputCount{267};
inline constexpr ApiSlot<Status*(const ShapeInferContext*, size_t, TensorTypeAndShapeInfo**)>
    kShapeInferGetInput{268};
inline constexpr ApiSlot<Status*(const ShapeInferContext*, CString, const OpAttr**)>
    kShapeInferGetAttribute{269};
inline constexpr ApiSlot<Status*(const ShapeInferContext*, size_t, const TensorTypeAndShapeInfo*)>
    kShapeInferSetOutput{270};
inline constexpr ApiSlot<Status*(TensorTypeAndShapeInfo*, const CString*, size_t)>
    kSetSymbolicDimensions{271};
inline constexpr ApiSlot<Status*(const OpAttr*, AttrType, void*, size_t, size_t*)> kReadOpAttr{272};
inline constexpr ApiSlot<Status*(const KernelContext*, void (*)(void*, size_t), size_t, size_t,
                                 void*)>
    kKernelContextParallelFor{274};
inline constexpr ApiSlot<Status*(const ValueInfo*, CString*)> kGetValueInfoName{289};
inline constexpr ApiSlot<Status*(const ValueInfo*, const TypeInfo**)> kGetValueInfoTypeInfo{290};
inline constexpr ApiSlot<void(KeyValuePairs**)> kCreateKeyValuePairs{295};
inline constexpr ApiSlot<void(KeyValuePairs*, CString, CString)> kAddKeyValuePair{296};
inline constexpr ApiSlot<void(const KeyValuePairs*, const CString**, const CString**, size_t*)>
    kGetKeyValuePairs{298};
inline constexpr ApiSlot<void(KeyValuePairs*)> kReleaseKeyValuePairs{300};
inline constexpr ApiSlot<uint32_t(const HardwareDevice*)> kHardwareDeviceId{310};
inline constexpr ApiSlot<const void*()> kGetEpApi{317};
inline constexpr ApiSlot<Status*(const ValueInfo*, const Value**)> kValueInfoGetInitializerValue{
    326};
inline constexpr ApiSlot<Status*(const ValueInfo*, bool*)> kValueInfoIsConstantInitializer{331};
inline constexpr ApiSlot<Status*(const Graph*, CString*)> kGraphGetName{333};
inline constexpr ApiSlot<Status*(const Graph*, int64_t*)> kGraphGetOnnxIrVersion{335};
inline constexpr ApiSlot<Status*(const Graph*, size_t*)> kGraphGetNumOperatorSets{336};
inline constexpr ApiSlot<Status*(const Graph*, CString*, int64_t*, size_t)> kGraphGetOperatorSets{
    337};
inline constexpr ApiSlot<Status*(const Graph*, size_t*)> kGraphGetNumInputs{338};
inline constexpr ApiSlot<Status*(const Graph*, const ValueInfo**, size_t)> kGraphGetInputs{339};
inline constexpr ApiSlot<Status*(const Graph*, size_t*)> kGraphGetNumOutputs{340};
inline constexpr ApiSlot<Status*(const Graph*, const ValueInfo**, size_t)> kGraphGetOutputs{341};
inline constexpr ApiSlot<Status*(const Graph*, size_t*)> kGraphGetNumInitializers{342};
inline constexpr ApiSlot<Status*(const Graph*, const ValueInfo**, size_t)> kGraphGetInitializers{
    343};
inline constexpr ApiSlot<Status*(const Graph*, size_t*)> kGraphGetNumNodes{344};
inline constexpr ApiSlot<Status*(const Graph*, const Node**, size_t)> kGraphGetNodes{345};
inline constexpr ApiSlot<Status*(const Graph*, const Node**)> kGraphGetParentNode{346};
inline constexpr ApiSlot<Status*(const Node*, CString*)> kNodeGetName{349};
inline constexpr ApiSlot<Status*(const Node*, CString*)> kNodeGetOperatorType{350};
inline constexpr ApiSlot<Status*(const Node*, CString*)> kNodeGetDomain{351};
inline constexpr ApiSlot<Status*(const Node*, size_t*)> kNodeGetNumInputs{353};
inline constexpr ApiSlot<Status*(const Node*, const ValueInfo**, size_t)> kNodeGetInputs{354};
inline constexpr ApiSlot<Status*(const Node*, size_t*)> kNodeGetNumOutputs{355};
inline constexpr ApiSlot<Status*(const Node*, const ValueInfo**, size_t)> kNodeGetOutputs{356};
inline constexpr ApiSlot<Status*(const Node*, size_t*)> kNodeGetNumAttributes{359};
inline constexpr ApiSlot<Status*(const Node*, const OpAttr**, size_t)> kNodeGetAttributes{360};
inline constexpr ApiSlot<Status*(const OpAttr*, Value**)> kOpAttrGetTensor{362};
inline constexpr ApiSlot<Status*(const OpAttr*, AttrType*)> kOpAttrGetType{363};
inline constexpr ApiSlot<Status*(const OpAttr*, CString*)> kOpAttrGetName{364};
inline constexpr ApiSlot<Status*(const Node*, size_t*)> kNodeGetNumSubgraphs{365};
inline constexpr ApiSlot<Status*(const Node*, const Graph**, size_t, CString*)> kNodeGetSubgraphs{
    366};
inline constexpr ApiSlot<Status*(const Node*, CString*)> kNodeGetEpName{368};
inline constexpr ApiSlot<Status*(const Value*, size_t*)> kGetTensorSizeInBytes{318};
inline constexpr ApiSlot<Status*(const Value*, const void**)> kGetTensorData{378};
inline constexpr ApiSlot<Status*(const SessionOptions*, KeyValuePairs**)>
    kGetSessionOptionsConfigEntries{379};
inline constexpr ApiSlot<bool(const TensorTypeAndShapeInfo*)> kTensorTypeAndShapeHasShape{390};
// Element type and dims of a tensor, borrowed from it.
inline constexpr ApiSlot<Status*(const Value*, int*, const int64_t**, size_t*)>
    kGetTensorTypeAndShapeReference{414};

struct EpFactory;
struct NodeFusionOptions;

// OrtEpApi.
inline constexpr EpApiSlot<Status*(EpFactory*, const HardwareDevice*, const KeyValuePairs*,
                                   const KeyValuePairs*, EpDevice**)>
    kCreateEpDevice{0};
inline constexpr EpApiSlot<Status*(GraphSupportInfo*, const Node* const*, size_t,
                                   const NodeFusionOptions*)>
    kAddNodesToFuse{2};
inline constexpr EpApiSlot<Status*(HardwareType, uint32_t, uint32_t, CString, const KeyValuePairs*,
                                   HardwareDevice**)>
    kCreateHardwareDevice{16};
inline constexpr EpApiSlot<void(HardwareDevice*)> kReleaseHardwareDevice{17};
// Times in microseconds from the start of the profile; keys and values of arguments.
inline constexpr EpApiSlot<Status*(ProfilingCategory, int32_t, int32_t, CString, int64_t, int64_t,
                                   const CString*, const CString*, size_t, ProfilingEvent**)>
    kCreateProfilingEvent{65};
inline constexpr EpApiSlot<void(ProfilingEvent*)> kReleaseProfilingEvent{66};
inline constexpr EpApiSlot<Status*(ProfilingEvents*, const ProfilingEvent* const*, size_t)>
    kProfilingEventsAdd{72};

struct Ep;

// OrtEpFactory up to API 29. `None` members are optional and not provided.
using None = void*;
struct EpFactory {
  uint32_t version;
  CString (*GetName)(const EpFactory*) noexcept;
  CString (*GetVendor)(const EpFactory*) noexcept;
  Status* (*GetSupportedDevices)(EpFactory*, const HardwareDevice* const*, size_t, EpDevice**,
                                 size_t, size_t*) noexcept;
  Status* (*CreateEp)(EpFactory*, const HardwareDevice* const*, const KeyValuePairs* const*, size_t,
                      const SessionOptions*, const Logger*, Ep**) noexcept;
  void (*ReleaseEp)(EpFactory*, Ep*) noexcept;
  uint32_t (*GetVendorId)(const EpFactory*) noexcept;
  CString (*GetVersion)(const EpFactory*) noexcept;
  None ValidateCompiledModelCompatibilityInfo;
  Status* (*CreateAllocator)(EpFactory*, const MemoryInfo*, const KeyValuePairs*,
                             Allocator**) noexcept;
  void (*ReleaseAllocator)(EpFactory*, Allocator*) noexcept;
  // ONNX Runtime calls it without asking whether it is there.
  Status* (*CreateDataTransfer)(EpFactory*, DataTransfer**) noexcept;
  bool (*IsStreamAware)(const EpFactory*) noexcept;
  None CreateSyncStreamForDevice;
  None GetHardwareDeviceIncompatibilityDetails;
  None CreateExternalResourceImporterForDevice;
  Status* (*GetNumCustomOpDomains)(EpFactory*, size_t*) noexcept;
  Status* (*GetCustomOpDomains)(EpFactory*, CustomOpDomain**, size_t) noexcept;
  None InitGraphicsInterop;
  None DeinitGraphicsInterop;
  None SelectBestModelCandidate;
};

struct NodeComputeInfo {
  uint32_t version;
  Status* (*CreateState)(NodeComputeInfo*, NodeComputeContext*, void**) noexcept;
  Status* (*Compute)(NodeComputeInfo*, void*, KernelContext*) noexcept;
  void (*ReleaseState)(NodeComputeInfo*, void*) noexcept;
};

// OrtEpProfilerImpl up to API 29.
struct EpProfiler {
  uint32_t version;
  void (*Release)(EpProfiler*) noexcept;
  // Nanoseconds since ONNX Runtime's profile began.
  Status* (*StartProfiling)(EpProfiler*, int64_t) noexcept;
  Status* (*StartEvent)(EpProfiler*, uint64_t) noexcept;
  Status* (*StopEvent)(EpProfiler*, uint64_t, const ProfilingEvent*) noexcept;
  Status* (*EndProfiling)(EpProfiler*, ProfilingEvents*) noexcept;
};

// OrtEp up to API 29.
struct Ep {
  uint32_t version;
  CString (*GetName)(const Ep*) noexcept;
  Status* (*GetCapability)(Ep*, const Graph*, GraphSupportInfo*) noexcept;
  Status* (*Compile)(Ep*, const Graph**, const Node**, size_t, NodeComputeInfo**, Node**) noexcept;
  void (*ReleaseNodeComputeInfos)(Ep*, NodeComputeInfo**, size_t) noexcept;
  None GetPreferredDataLayout;
  None ShouldConvertDataLayoutForOp;
  None SetDynamicOptions;
  None OnRunStart;
  None OnRunEnd;
  None CreateAllocator;
  None CreateSyncStreamForDevice;
  None GetCompiledModelCompatibilityInfo;
  None GetKernelRegistry;
  Status* (*IsConcurrentRunSupported)(Ep*, bool*) noexcept;
  None Sync;
  Status* (*CreateProfiler)(Ep*, EpProfiler**) noexcept;
  None IsGraphCaptureEnabled;
  None IsGraphCaptured;
  None ReplayGraph;
  None GetGraphCaptureNodeAssignmentPolicy;
  None GetAvailableResource;
  Status* (*OnSessionInitializationEnd)(Ep*) noexcept;
  None GetDefaultMemoryDevice;
  None ReleaseCapturedGraph;
  None GetWeightlessSupport;
};

struct NodeFusionOptions {
  uint32_t version;
  bool drop_constant_initializers;
};

// OrtCustomOp up to API 29.
struct CustomOp {
  uint32_t version;
  None CreateKernel;
  CString (*GetName)(const CustomOp*) noexcept;
  CString (*GetExecutionProviderType)(const CustomOp*) noexcept;  // null: the CPU provider
  int (*GetInputType)(const CustomOp*, size_t) noexcept;
  size_t (*GetInputTypeCount)(const CustomOp*) noexcept;
  int (*GetOutputType)(const CustomOp*, size_t) noexcept;
  size_t (*GetOutputTypeCount)(const CustomOp*) noexcept;
  None KernelCompute;
  void (*KernelDestroy)(void*) noexcept;
  Presence (*GetInputCharacteristic)(const CustomOp*, size_t) noexcept;
  Presence (*GetOutputCharacteristic)(const CustomOp*, size_t) noexcept;
  int (*GetInputMemoryType)(const CustomOp*, size_t) noexcept;
  int (*GetVariadicInputMinArity)(const CustomOp*) noexcept;
  int (*GetVariadicInputHomogeneity)(const CustomOp*) noexcept;
  int (*GetVariadicOutputMinArity)(const CustomOp*) noexcept;
  int (*GetVariadicOutputHomogeneity)(const CustomOp*) noexcept;
  Status* (*CreateKernelV2)(const CustomOp*, const void*, const KernelInfo*, void**) noexcept;
  Status* (*KernelComputeV2)(void*, KernelContext*) noexcept;
  // What it returns is neither read nor released.
  Status* (*InferOutputShapeFn)(const CustomOp*, ShapeInferContext*) noexcept;
  int (*GetStartVersion)(const CustomOp*) noexcept;
  None GetEndVersion;
  None GetMayInplace;
  None ReleaseMayInplace;
  None GetAliasMap;
  None ReleaseAliasMap;
};

static_assert(offsetof(CustomOp, ReleaseAliasMap) == 8 * 25);
static_assert(sizeof(void*) == 8 && offsetof(Ep, GetWeightlessSupport) == 8 * 25);
static_assert(offsetof(EpFactory, SelectBestModelCandidate) == 8 * 20);

}  // namespace furiosa::ort

#endif  // FURIOSA_EP_PROVIDER_NATIVE_ORT_ABI_H_
