#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_TRACE_JSON_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_TRACE_JSON_H_

#include <set>
#include <string>

#include "device_emulator/native/profiling/events.h"

namespace furiosa::profiling {

// What a profile has left out for want of room.
struct Dropped {
  uint64_t runs = 0;
  uint64_t events = 0;
  int64_t since = 0;  // when that began
};

// Events as a Chrome trace: head(), any number of events, tail(). A text with a tail may go on:
// further events take the place of the tail.
class TraceJson {
 public:
  TraceJson();

  std::string head() const;
  // The text of an event, and before the first one of a track that of its name.
  void append(const Event& event, std::string& text);
  std::string tail(const Dropped& dropped) const;

 private:
  void append_track(const Event& event, std::string& text) const;

  const std::string process_;  // the member of an event that names it
  std::set<int64_t> tracks_;
};

}  // namespace furiosa::profiling

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_TRACE_JSON_H_
