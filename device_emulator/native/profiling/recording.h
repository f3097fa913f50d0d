#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_RECORDING_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_RECORDING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device_emulator/native/profiling/events.h"
#include "device_emulator/native/profiling/recorder.h"
#include "device_emulator/native/profiling/trace_json.h"

namespace furiosa::profiling {

// A part of a profile: runs and spans, up to a number of events.
class Batch {
 public:
  void add(std::shared_ptr<const Run> run);
  void add(std::shared_ptr<const Span> span);
  size_t events() const { return events_; }

  // Calls use(event) for all events that are wanted, by the start of their runs.
  void for_each(Timeline& timeline, Resource wanted, const Timeline::Use& use) const;

 private:
  std::vector<std::shared_ptr<const Run>> runs_;
  std::vector<std::shared_ptr<const Span>> spans_;
  size_t events_ = 0;
};

// How many events there is room for.
class Budget {
 public:
  explicit Budget(size_t events = kMostEvents) : left_(events) {}

  // Whether there is room; nothing is taken any more once there was none.
  bool takes(const Run& run);
  bool takes(const Span& span);
  const Dropped& dropped() const { return dropped_; }

 private:
  bool takes(size_t events, size_t runs, int64_t start);

  size_t left_;
  Dropped dropped_;
};

// A profile in memory.
class Recording final : public Sink {
 public:
  explicit Recording(size_t most_events = kMostEvents) : budget_(most_events) {}

  void add(std::shared_ptr<const Run> run) override;
  void add(std::shared_ptr<const Span> span) override;

  // What there is up to now; not to be called with the mutex locked.
  void for_each(Resource wanted, const Timeline::Use& use) const;
  std::string json(Resource wanted) const;

 private:
  std::pair<Batch, Dropped> snapshot() const;

  Batch batch_;
  Budget budget_;
};

}  // namespace furiosa::profiling

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_RECORDING_H_
