#include "furiosa_ep/provider/native/ep_profiler.h"

#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

namespace furiosa {

EpProfiler::EpProfiler(std::shared_ptr<const Session> session)
    : ort::EpProfiler{}, session_(std::move(session)) {
  version = session_->ort.version;
  Release = [](ort::EpProfiler* self) noexcept { delete static_cast<EpProfiler*>(self); };
  StartProfiling = [](ort::EpProfiler* self, int64_t offset) noexcept {
    auto& profiler = static_cast<EpProfiler&>(*self);
    return profiler.session_->ort.guard([&] { profiler.start(offset); });
  };
  StartEvent = [](ort::EpProfiler*, uint64_t) noexcept -> ort::Status* { return nullptr; };
  StopEvent = [](ort::EpProfiler*, uint64_t, const ort::ProfilingEvent*) noexcept -> ort::Status* {
    return nullptr;
  };
  EndProfiling = [](ort::EpProfiler* self, ort::ProfilingEvents* events) noexcept {
    auto& profiler = static_cast<EpProfiler&>(*self);
    return profiler.session_->ort.guard([&] { profiler.end(events); });
  };
}

void EpProfiler::start(int64_t offset) {
  began_ = profiling::now() - offset;
  recording_ = std::make_shared<profiling::Recording>();
  attachment_.emplace(recording_, session_->profile.session());
}

void EpProfiler::end(ort::ProfilingEvents* events) {
  attachment_.reset();
  const auto recording = std::exchange(recording_, nullptr);
  if (recording == nullptr) return;
  recording->for_each(profiling::Resource::kAll,
                      [&](const profiling::Event& event) { add(event, events); });
}

void EpProfiler::add(const profiling::Event& event, ort::ProfilingEvents* events) const {
  const Ort& ort = session_->ort;
  std::vector<std::pair<const char*, std::string>> arguments = {
      {"provider", "FuriosaProvider"},
      {"furiosa_category", event.npu ? "NPU" : "Runtime"},
      {"track", event.track_name()},
      {"duration_ns", std::to_string(event.duration)}};
  event.numbers([&](const char* name, int64_t number) {
    arguments.emplace_back(name, std::to_string(number));
  });
  event.texts([&](const char* name, std::string_view text) { arguments.emplace_back(name, text); });
  std::vector<ort::CString> keys;
  std::vector<ort::CString> values;
  for (const auto& [key, value] : arguments) {
    if (value.empty()) continue;
    keys.push_back(key);
    values.push_back(value.c_str());
  }
  // What is in an event stays in it, and what follows one follows it.
  const auto microseconds = [this](int64_t time) { return (time - began_) / 1000; };
  const int64_t start = microseconds(event.start);
  const int64_t duration = microseconds(event.start + event.duration) - start;
  ort::ProfilingEvent* made = nullptr;
  ort.check(ort.ep_api[ort::kCreateProfilingEvent](ort::ProfilingCategory::kKernel, getpid(),
                                                   static_cast<int32_t>(event.track),
                                                   std::string(event.name).c_str(), start, duration,
                                                   keys.data(), values.data(), keys.size(), &made));
  ort::Status* const status = ort.ep_api[ort::kProfilingEventsAdd](events, &made, 1);
  ort.ep_api[ort::kReleaseProfilingEvent](made);
  ort.check(status);
}

}  // namespace furiosa
