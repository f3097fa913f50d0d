#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_RECORDER_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_RECORDER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "device_emulator/native/profiling/run.h"

namespace furiosa::profiling {

// Of all that profiles hold, free in a forked child. Nobody waits for another lock who has it.
std::mutex& profiles_mutex();

// Something that collects what sessions do, called with profiles_mutex() locked.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void add(std::shared_ptr<const Run> run) = 0;
  virtual void add(std::shared_ptr<const Span> span) = 0;
};
using Sinks = std::vector<std::shared_ptr<Sink>>;

// The most events that a sink keeps: a profile of some hundred megabytes.
inline constexpr size_t kMostEvents = 1'000'000;

inline constexpr uint64_t kAllSessions = 0;

namespace internal {
inline std::atomic<bool> any_attached{false};
}

// Whether anything is attached: all that a run asks where nothing is profiled.
inline bool attached() { return internal::any_attached.load(std::memory_order_relaxed); }

// What is attached for a session, each once.
Sinks sinks_of(uint64_t session);

// A sink gets what a session does, as long as this object lives.
class Attachment {
 public:
  Attachment(std::shared_ptr<Sink> sink, uint64_t session);
  ~Attachment();
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

 private:
  friend Sinks sinks_of(uint64_t session);

  const std::shared_ptr<Sink> sink_;
  const uint64_t session_;
};

// Gives `sinks` what this thread has run: its start, and the end of each command.
void record_run(const Sinks& sinks, const Origin& origin, std::shared_ptr<const Outline> outline,
                std::vector<int64_t> times);
// Gives `sinks` what this thread has run until now, when it fails. The last command is the one that
// failed; where there is none, the run has failed before.
void record_failure(const Sinks& sinks, const Origin& origin,
                    std::shared_ptr<const Outline> outline, std::vector<int64_t> times,
                    const char* error);

// Records what takes time as long as the object lives.
class SpanScope {
 public:
  SpanScope(uint64_t session, const char* name);
  ~SpanScope();
  SpanScope(const SpanScope&) = delete;
  SpanScope& operator=(const SpanScope&) = delete;

 private:
  Sinks sinks_;
  const char* const name_;
  int64_t start_ = 0;
};

}  // namespace furiosa::profiling

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_RECORDER_H_
