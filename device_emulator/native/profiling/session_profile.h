#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_SESSION_PROFILE_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_SESSION_PROFILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "device_emulator/native/profiling/recorder.h"

namespace furiosa::profiling {

// Profiles all sessions as $FURIOSA_PROFILER_OUTPUT_PATH says now. Returns what is wrong with it,
// or nothing.
std::string follow_environment();

// The profile of one session, which ends with it.
class SessionProfile {
 public:
  SessionProfile();
  ~SessionProfile();
  SessionProfile(const SessionProfile&) = delete;
  SessionProfile& operator=(const SessionProfile&) = delete;

  // Its number among all sessions.
  uint64_t session() const { return session_; }
  // Throws Error where `path` cannot be written.
  void write_to(const std::string& path);

 private:
  const uint64_t session_;
  std::unique_ptr<Attachment> attachment_;
};

}  // namespace furiosa::profiling

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_SESSION_PROFILE_H_
