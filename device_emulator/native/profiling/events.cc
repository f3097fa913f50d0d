#include "device_emulator/native/profiling/events.h"

#include <algorithm>

#include "device_emulator/native/devices/state.h"

namespace furiosa::profiling {
namespace {

// Tracks of the NPU: computing on PE i is 10,000,000 + i, as Warboy's own profiler has it.
constexpr int64_t kNpuTracks = 10'000'000;
constexpr int64_t kTracksPerEngine = 1'000;
constexpr int64_t kFusedTracks = 500;
// Keeps sums of times far from overflow, whatever a Program says.
constexpr int64_t kLatest = int64_t{1} << 61;

int64_t track_of(const Run& run, Engine engine) {
  const int64_t place =
      run.outline->pes > 1 ? kFusedTracks + run.card : run.card * kPesPerCard + run.pe;
  return kNpuTracks + static_cast<int64_t>(engine) * kTracksPerEngine + place;
}

bool includes(Resource wanted, Resource one) {
  return (static_cast<unsigned>(wanted) & static_cast<unsigned>(one)) != 0;
}

// What all events of the device have in common.
Event device_event(const Run& run) {
  Event event;
  event.run = &run;
  event.engine = Engine::kCompute;
  event.trace_id = static_cast<int64_t>(run.id);
  event.pe_index = run.card * kPesPerCard + run.pe;
  event.execution_index = 0;
  return event;
}

}  // namespace

std::string Event::track_name() const {
  if (thread != nullptr) return thread->name.data();
  static constexpr const char* kEngineNames[] = {"compute", "DMA", "I/O", "host (modelled)"};
  std::string name = "npu";
  name.append(std::to_string(run->card)).append("pe").append(std::to_string(run->pe));
  if (run->outline->pes > 1) {
    name.append("-").append(std::to_string(run->pe + run->outline->pes - 1));
  }
  return name.append(" ").append(kEngineNames[static_cast<size_t>(engine)]);
}

void Timeline::events(const Run& run, Resource wanted, const Use& use) {
  if (includes(wanted, Resource::kCpu)) host(run, use);
  if (run.error.has_value()) return;
  // Placed in any case, so that what is wanted does not change when it is.
  const int64_t start = place(run);
  if (!run.outline->device.empty()) device(run, start, wanted, use);
}

void Timeline::events(const Span& span, Resource wanted, const Use& use) {
  if (!includes(wanted, Resource::kCpu)) return;
  Event event;
  event.name = span.name;
  event.start = span.start;
  event.duration = span.end - span.start;
  event.track = span.thread.id;
  event.thread = &span.thread;
  event.span_id = static_cast<int64_t>(span.id);
  use(event);
}

void Timeline::host(const Run& run, const Use& use) {
  Event event;
  event.name = "Inference";
  event.start = run.times.front();
  event.duration = run.end - run.times.front();
  event.track = run.thread.id;
  event.thread = &run.thread;
  event.run = &run;
  event.partition = run.partition;
  if (run.error.has_value()) event.error = *run.error;
  event.trace_id = static_cast<int64_t>(run.id);
  event.session = static_cast<int64_t>(run.session);
  const auto span = static_cast<int64_t>(run.first_span);
  event.span_id = span;
  use(event);
  event.partition = {};
  event.error = {};
  event.session = Event::kNone;
  event.parent_span_id = span;
  for (size_t i = 0; i + 1 < run.times.size(); ++i) {
    event.name = run.outline->commands[i].label;
    event.operators = run.outline->commands[i].name;
    event.start = run.times[i];
    event.duration = run.times[i + 1] - run.times[i];
    event.span_id = span + 2 + static_cast<int64_t>(i);
    event.operator_index = static_cast<int64_t>(i);
    use(event);
  }
}

void Timeline::execution(const Run& run, int64_t start, const Use& use) {
  const Outline::Extent& npu = run.outline->npu;
  Event event = device_event(run);
  event.npu = true;
  event.name = "Execution";
  event.track = track_of(run, event.engine);
  event.start = start + npu.start;
  event.duration = run.at_clock(npu.end) - npu.start;
  event.span_id = static_cast<int64_t>(run.first_span) + 1;
  event.parent_span_id = static_cast<int64_t>(run.first_span);
  event.partition = run.partition;
  if (run.clock_permille != kFullClockPermille) event.clock_permille = run.clock_permille;
  use(event);
}

void Timeline::device(const Run& run, int64_t start, Resource wanted, const Use& use) {
  const Outline& outline = *run.outline;
  const auto span = static_cast<int64_t>(run.first_span);
  Event event = device_event(run);
  if (outline.npu.end > 0 && includes(wanted, Resource::kNpu)) execution(run, start, use);
  for (size_t i = 0; i < outline.device.size(); ++i) {
    const Outline::DeviceEvent& one = outline.device[i];
    const bool npu = one.engine != Engine::kHost;
    if (!includes(wanted, npu ? Resource::kNpu : Resource::kCpu)) continue;
    const bool clocked = one.engine == Engine::kCompute || one.engine == Engine::kDma;
    event.name = one.label;
    event.npu = npu;
    event.engine = one.engine;
    event.track = track_of(run, one.engine);
    event.start = start + run.at_clock(one.start);
    event.duration =
        clocked ? run.at_clock(one.end) - run.at_clock(one.start) : one.end - one.start;
    event.span_id = span + 2 + static_cast<int64_t>(outline.commands.size() + i);
    event.parent_span_id = clocked ? span + 1 : span;
    event.operators = outline.commands[one.command].name;
    event.operator_index = one.command;
    event.instruction_index = static_cast<int64_t>(i);
    event.bytes = one.bytes == 0 ? Event::kNone : static_cast<int64_t>(one.bytes);
    use(event);
  }
}

// When the modelled device begins with a run: no engine before it is done with the last one.
int64_t Timeline::place(const Run& run) {
  const auto& extents = run.outline->extents;
  int64_t start = run.times.front();
  const auto for_each_pe = [&](const auto& use) {
    for (uint32_t pe = run.pe; pe < run.pe + run.outline->pes; ++pe) {
      use(free_[uint64_t{run.card} << 32 | pe]);
    }
  };
  for_each_pe([&](const Free& free) {
    for (size_t i = 0; i < kEngines; ++i) {
      if (extents[i].end > 0) start = std::max(start, free[i] - run.at_clock(extents[i].start));
    }
  });
  start = std::min(start, kLatest);
  for_each_pe([&](Free& free) {
    for (size_t i = 0; i < kEngines; ++i) {
      if (extents[i].end > 0) free[i] = start + run.at_clock(extents[i].end);
    }
  });
  return start;
}

}  // namespace furiosa::profiling
