#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_RUN_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_RUN_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "device_emulator/native/profiling/outline.h"

namespace furiosa::profiling {

// Of the clock of all profiles, CLOCK_MONOTONIC.
inline int64_t now() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Who runs a Program, and where.
struct Origin {
  uint64_t session = 0;        // 0 where there is none
  std::string_view partition;  // of the session's model
  uint32_t card = 0;
  uint32_t pe = 0;  // the first one of those that work together
  // At which the device's clock is, of the full one: less where it is throttled.
  uint32_t clock_permille = kFullClockPermille;
};

// The thread that did something.
struct Thread {
  static Thread current();

  int64_t id;
  std::array<char, 16> name;
};

// One run of a Program.
struct Run {
  // How many events it is in a profile.
  size_t events() const { return error.has_value() ? times.size() : outline->events(); }
  // When the device is at what its schedule has at `time`, both from the start of the run. Its
  // clock drives computing and DMA alone.
  int64_t at_clock(int64_t time) const;

  std::shared_ptr<const Outline> outline;
  Thread thread;
  uint64_t session;
  std::string partition;
  uint32_t card;
  uint32_t pe;
  uint32_t clock_permille;
  uint64_t id;                       // unique in the process
  uint64_t first_span;               // of outline->events()
  std::vector<int64_t> times;        // the start, and the end of each command that has begun
  int64_t end;                       // of it all
  std::optional<std::string> error;  // why it failed
};

// Something else that took time on the host.
struct Span {
  std::string name;
  Thread thread;
  uint64_t id;
  int64_t start;
  int64_t end;
};

// Numbers for `count` spans, the first of which is returned; unique in the process, never 0.
uint64_t reserve_spans(uint64_t count);
uint64_t next_run();

}  // namespace furiosa::profiling

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_RUN_H_
