#include "furiosa_ep/provider/native/execution_provider.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <thread>
#include <utility>

#include "device_emulator/native/devices/device_error.h"
#include "furiosa_ep/provider/native/ep_profiler.h"
#include "furiosa_ep/provider/native/model_writer.h"
#include "kernels/native/isa.h"

namespace furiosa {
namespace {

// How provider options arrive among the session's config entries.
constexpr std::string_view kOptionPrefix = "ep.furiosaprovider.";
// The first API version with OnSessionInitializationEnd.
constexpr uint32_t kApiWithInitializationEnd = 27;

std::vector<FusedNode::Value> describe(const Ort& ort,
                                       std::span<const ort::ValueInfo* const> values) {
  std::vector<FusedNode::Value> described;
  for (const ort::ValueInfo* value : values) {
    described.push_back({std::string(value_name(ort, value)), value_type(ort, value).dtype});
  }
  return described;
}

// Gives back what ONNX Runtime has just freed: its own copies of the weights, in blocks that the C
// library would rather keep for itself.
void release_freed_memory() noexcept {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// The shapes of `values` as the compiler takes them, -1 for a dim that is not known.
std::vector<int64_t> shape_words(const Ort& ort, std::span<const ort::ValueInfo* const> values) {
  std::vector<int64_t> words;
  for (const ort::ValueInfo* value : values) {
    const ValueType known = value_type(ort, value);
    words.push_back(static_cast<int64_t>(known.dims.size()));
    words.insert(words.end(), known.dims.begin(), known.dims.end());
  }
  return words;
}

// Stands for all that the Program of a partition depends on.
Digest digest_of(int64_t variant, std::string_view content,
                 std::span<const std::span<const std::byte>> constants,
                 std::span<const int64_t> shapes) {
  ContentHash hash;
  hash.add(isa_name(active_isa()));
  hash.add(std::span<const int64_t>(&variant, 1));
  hash.add(content);
  for (const std::span<const std::byte> one : constants) hash.add(one);
  hash.add(shapes);
  return hash.digest();
}

thread_local std::weak_ptr<const Session> initializing;

}  // namespace

std::shared_ptr<const Session> initializing_session() { return initializing.lock(); }

ExecutionProvider::ExecutionProvider(std::shared_ptr<const void> library, const Ort& ort,
                                     std::span<const uint32_t> cards,
                                     const ort::SessionOptions* options, const ort::Logger* logger)
    : ort::Ep{},
      session_(new Session{std::move(library),
                           ort,
                           logger,
                           std::max(std::thread::hardware_concurrency(), 1u),
                           CompilerHandle(),
                           {},
                           nullptr}) {
  version = ort.version;
  GetName = [](const ort::Ep*) noexcept -> ort::CString { return kProviderName; };
  GetCapability = [](ort::Ep* self, const ort::Graph* graph,
                     ort::GraphSupportInfo* support) noexcept {
    auto& provider = static_cast<ExecutionProvider&>(*self);
    return provider.session_->ort.guard([&] { provider.get_capability(graph, support); });
  };
  Compile = [](ort::Ep* self, const ort::Graph** graphs, const ort::Node** fused, size_t count,
               ort::NodeComputeInfo** infos, ort::Node**) noexcept {
    auto& provider = static_cast<ExecutionProvider&>(*self);
    return provider.session_->ort.guard([&] {
      provider.report();
      if (provider.failure_ != nullptr) std::rethrow_exception(provider.failure_);
      std::vector<std::unique_ptr<FusedNode>> compiled;
      for (size_t i = 0; i < count; ++i) {
        compiled.push_back(provider.compile(graphs[i], fused[i]));
      }
      for (size_t i = 0; i < count; ++i) infos[i] = compiled[i].release();
    });
  };
  ReleaseNodeComputeInfos = [](ort::Ep*, ort::NodeComputeInfo** infos, size_t count) noexcept {
    for (size_t i = 0; i < count; ++i) delete static_cast<FusedNode*>(infos[i]);
  };
  IsConcurrentRunSupported = [](ort::Ep*, bool* supported) noexcept -> ort::Status* {
    *supported = true;
    return nullptr;
  };
  CreateProfiler = [](ort::Ep* self, ort::EpProfiler** profiler) noexcept {
    auto& provider = static_cast<ExecutionProvider&>(*self);
    return provider.session_->ort.guard([&] { *profiler = new EpProfiler(provider.session_); });
  };
  OnSessionInitializationEnd = [](ort::Ep* self) noexcept {
    auto& provider = static_cast<ExecutionProvider&>(*self);
    initializing.reset();
    release_freed_memory();
    return provider.session_->ort.guard([&] { provider.report(); });
  };
  initializing = session_;
  try {
    open(cards, options);
  } catch (...) {
    failure_ = std::current_exception();
  }
}

void ExecutionProvider::open(std::span<const uint32_t> cards, const ort::SessionOptions* options) {
  const Ort& ort = session_->ort;
  const KeyValuePairs entries(ort, ort.get(ort::kGetSessionOptionsConfigEntries, options));
  std::vector<std::pair<std::string, std::string>> own;
  for (const auto& [key, value] : entries.entries()) {
    if (key.starts_with(kOptionPrefix)) own.emplace_back(key.substr(kOptionPrefix.size()), value);
    if (key == "session.disable_quant_qdq" && value == "1") {
      ort.log(session_->logger, ort::Severity::kWarning,
              "session.disable_quant_qdq=1 turns the quantized operators into float ones, which "
              "FuriosaProvider does not take: remove that entry");
    }
    if (key == "ep.context_enable" && value == "1") {
      throw OrtError(ort::ErrorCode::kNotImplemented,
                     "FuriosaProvider does not write EPContext models: remove the session config "
                     "entry ep.context_enable");
    }
  }
  if (!compiler::installed()) {
    ort.log(session_->logger, ort::Severity::kWarning,
            "FuriosaProvider claims nothing, as no compiler is installed in this process: import "
            "furiosa_ep and call furiosa_ep.register() before the session is created");
    return;
  }
  session_->handle = compiler::open(own, cards, session_->settings, session_->device);
  profile(own);
}

void ExecutionProvider::profile(std::span<const std::pair<std::string, std::string>> options) {
  if (const std::string problem = profiling::follow_environment(); !problem.empty()) {
    session_->ort.log(session_->logger, ort::Severity::kWarning, problem);
  }
  for (const auto& [key, value] : options) {
    if (key != "profile") continue;
    try {
      session_->profile.write_to(value);
    } catch (const Error& error) {
      throw Error("option 'profile'='" + value + "': " + error.what() +
                  " (docs/options.md#profile)");
    }
  }
}

void ExecutionProvider::get_capability(const ort::Graph* graph, ort::GraphSupportInfo* support) {
  const Ort& ort = session_->ort;
  // The body of a control flow node: it belongs to the CPU as that node does.
  if (ort.get(ort::kGraphGetParentNode, graph) != nullptr) return;
  const auto nodes = ort.list(ort::kGraphGetNumNodes, ort::kGraphGetNodes, graph);
  if (nodes.empty()) return;
  if (failure_ == nullptr && !session_->handle) return;  // no compiler, as open() has said
  PartitionPlan planned;
  try {
    if (failure_ == nullptr) planned = plan(graph, nodes);
  } catch (...) {
    failure_ = std::current_exception();
  }
  if (failure_ != nullptr) return claim_one(nodes, support);
  for (const std::vector<size_t>& indices : planned.partitions) {
    std::vector<const ort::Node*> partition;
    for (size_t index : indices) partition.push_back(nodes[index]);
    claim(partition, support);
  }
  summary_ = std::move(planned.summary);
  variant_ = planned.variant;
  // Nothing that comes later would log it.
  if (planned.partitions.empty() && ort.version < kApiWithInitializationEnd) report();
}

PartitionPlan ExecutionProvider::plan(const ort::Graph* graph,
                                      std::span<const ort::Node* const> nodes) {
  const Ort& ort = session_->ort;
  const auto inputs = ort.list(ort::kGraphGetNumInputs, ort::kGraphGetInputs, graph);
  const auto outputs = ort.list(ort::kGraphGetNumOutputs, ort::kGraphGetOutputs, graph);
  const std::string model = write_model(ort, graph, nodes, inputs, outputs);
  return compiler::partition(session_->handle, model, nodes.size());
}

void ExecutionProvider::claim(std::span<const ort::Node* const> nodes,
                              ort::GraphSupportInfo* support) const {
  const Ort& ort = session_->ort;
  const ort::NodeFusionOptions options{ort.version, true};
  ort.check(ort.ep_api[ort::kAddNodesToFuse](support, nodes.data(), nodes.size(), &options));
}

void ExecutionProvider::claim_one(std::span<const ort::Node* const> nodes,
                                  ort::GraphSupportInfo* support) const {
  const Ort& ort = session_->ort;
  for (const ort::Node* const& node : nodes) {
    const ort::CString owner = ort.get(ort::kNodeGetEpName, node);
    const bool free = owner == nullptr || *owner == '\0';
    if (free && ort.get(ort::kNodeGetNumSubgraphs, node) == 0) return claim({&node, 1}, support);
  }
}

std::unique_ptr<FusedNode> ExecutionProvider::compile(const ort::Graph* graph,
                                                      const ort::Node* fused) const {
  const Ort& ort = session_->ort;
  const auto nodes = ort.list(ort::kGraphGetNumNodes, ort::kGraphGetNodes, graph);
  const auto inputs = ort.list(ort::kNodeGetNumInputs, ort::kNodeGetInputs, fused);
  const auto outputs = ort.list(ort::kNodeGetNumOutputs, ort::kNodeGetOutputs, fused);
  const std::string name = ort.get(ort::kNodeGetName, fused);
  const std::vector<int64_t> shapes = shape_words(ort, inputs);
  try {
    std::vector<std::span<const std::byte>> constants;
    const std::string content = write_model(ort, graph, nodes, inputs, outputs, &constants);
    const Digest source = digest_of(variant_, content, constants, shapes);
    std::optional<CompiledPartition> compiled = compiler::find_compiled(source);
    if (!compiled.has_value()) {
      const profiling::SpanScope span(session_->profile.session(), "Compile");
      const std::string model = write_model(ort, graph, nodes, inputs, outputs);
      compiled = compiler::compile(session_->handle, model, shapes, source);
    }
    return std::make_unique<FusedNode>(session_, name, describe(ort, inputs),
                                       describe(ort, outputs), *std::move(compiled));
  } catch (const DeviceError&) {
    throw;
  } catch (const std::exception& error) {
    throw Error("cannot compile partition " + name + ": " + error.what());
  }
}

void ExecutionProvider::report() {
  const std::string summary = std::exchange(summary_, {});
  if (summary.empty() || session_->settings.summary_severity < 0) return;
  session_->ort.log(session_->logger,
                    static_cast<ort::Severity>(session_->settings.summary_severity), summary);
}

}  // namespace furiosa
