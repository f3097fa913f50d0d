#ifndef FURIOSA_EP_PROVIDER_NATIVE_EXECUTION_PROVIDER_H_
#define FURIOSA_EP_PROVIDER_NATIVE_EXECUTION_PROVIDER_H_

#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "furiosa_ep/provider/native/fused_node.h"

namespace furiosa {

inline constexpr char kProviderName[] = "FuriosaProvider";

// The session that this thread is creating with FuriosaProvider, as far as is known: ONNX Runtime
// before 1.27 does not say when it is done. Null where there is none.
std::shared_ptr<const Session> initializing_session();

// FuriosaProvider in one session.
class ExecutionProvider final : public ort::Ep {
 public:
  // `cards` are those that ONNX Runtime has chosen.
  ExecutionProvider(std::shared_ptr<const void> library, const Ort& ort,
                    std::span<const uint32_t> cards, const ort::SessionOptions* options,
                    const ort::Logger* logger);

 private:
  void open(std::span<const uint32_t> cards, const ort::SessionOptions* options);
  void profile(std::span<const std::pair<std::string, std::string>> options);
  void get_capability(const ort::Graph* graph, ort::GraphSupportInfo* support);
  PartitionPlan plan(const ort::Graph* graph, std::span<const ort::Node* const> nodes);
  void claim_one(std::span<const ort::Node* const> nodes, ort::GraphSupportInfo* support) const;
  void claim(std::span<const ort::Node* const> nodes, ort::GraphSupportInfo* support) const;
  std::unique_ptr<FusedNode> compile(const ort::Graph* graph, const ort::Node* fused) const;
  void report();

  // ONNX Runtime only logs an error of GetCapability and Python falls back to the CPU after one of
  // CreateEp. So they are kept, a node is claimed, and its Compile raises them.
  std::exception_ptr failure_;

  const std::shared_ptr<Session> session_;
  int64_t variant_ = 0;  // of the plan
  std::string summary_;  // not logged yet
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_EXECUTION_PROVIDER_H_
