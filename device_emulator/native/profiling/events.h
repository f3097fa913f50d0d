#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_EVENTS_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_EVENTS_H_

#include <array>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "device_emulator/native/profiling/run.h"

namespace furiosa::profiling {

// An event as profiles show it; the texts are those of the run or the span.
struct Event {
  // An argument that the event does not have.
  static constexpr int64_t kNone = -1;

  std::string_view name;
  bool npu = false;  // of the category NPU, else Runtime
  int64_t start = 0, duration = 0;
  int64_t track = 0;               // the thread, or a number beyond those of threads
  const Thread* thread = nullptr;  // whose track it is; else that of `engine`
  const Run* run = nullptr;
  Engine engine{};
  std::string_view partition;  // of a whole run
  std::string_view operators;  // the ONNX nodes
  std::string_view error;      // why a run failed
  int64_t trace_id = kNone, span_id = kNone, parent_span_id = kNone;
  int64_t session = kNone, pe_index = kNone, execution_index = kNone, instruction_index = kNone,
          operator_index = kNone, bytes = kNone, clock_permille = kNone;

  std::string track_name() const;
  // Calls use(name, number) for every number that the event has.
  template <class Use>
  void numbers(Use&& use) const {
    const std::pair<const char*, int64_t> all[] = {{"trace_id", trace_id},
                                                   {"span_id", span_id},
                                                   {"parent_span_id", parent_span_id},
                                                   {"session", session},
                                                   {"pe_index", pe_index},
                                                   {"execution_index", execution_index},
                                                   {"instruction_index", instruction_index},
                                                   {"operator_index", operator_index},
                                                   {"bytes", bytes},
                                                   {"clock_permille", clock_permille}};
    for (const auto& [key, value] : all) {
      if (value != kNone) use(key, value);
    }
  }
  // Calls use(name, text) for every other argument that the event has.
  template <class Use>
  void texts(Use&& use) const {
    const std::pair<const char*, std::string_view> all[] = {
        {"operators", operators}, {"partition", partition}, {"error", error}};
    for (const auto& [key, value] : all) {
      if (!value.empty()) use(key, value);
    }
  }
};

// Which events of a run are wanted.
enum class Resource : unsigned { kCpu = 1, kNpu = 2, kAll = 3 };

// Makes the events of runs, which it gets in the order of their starts. Runs of one processing
// element share it: the modelled engine starts with a run when it is done with the one before.
class Timeline {
 public:
  using Use = std::function<void(const Event&)>;

  void events(const Run& run, Resource wanted, const Use& use);
  static void events(const Span& span, Resource wanted, const Use& use);

 private:
  static void host(const Run& run, const Use& use);
  // What the device does with a run that it begins with at `start`.
  static void execution(const Run& run, int64_t start, const Use& use);
  static void device(const Run& run, int64_t start, Resource wanted, const Use& use);
  int64_t place(const Run& run);

  using Free = std::array<int64_t, kEngines>;
  std::map<uint64_t, Free> free_;  // by PE, when each engine is done
};

}  // namespace furiosa::profiling

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_EVENTS_H_
