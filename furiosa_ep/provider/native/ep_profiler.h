#ifndef FURIOSA_EP_PROVIDER_NATIVE_EP_PROFILER_H_
#define FURIOSA_EP_PROVIDER_NATIVE_EP_PROFILER_H_

#include <memory>
#include <optional>

#include "device_emulator/native/profiling/recording.h"
#include "furiosa_ep/provider/native/fused_node.h"

namespace furiosa {

// What ONNX Runtime's own profiling shows of a session's runs.
class EpProfiler final : public ort::EpProfiler {
 public:
  explicit EpProfiler(std::shared_ptr<const Session> session);

 private:
  void start(int64_t offset);
  void end(ort::ProfilingEvents* events);
  void add(const profiling::Event& event, ort::ProfilingEvents* events) const;

  const std::shared_ptr<const Session> session_;
  std::shared_ptr<profiling::Recording> recording_;
  std::optional<profiling::Attachment> attachment_;
  int64_t began_ = 0;  // when ONNX Runtime's profile did
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_EP_PROFILER_H_
