#include "device_emulator/native/profiling/session_profile.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "device_emulator/native/profiling/trace_file.h"

namespace furiosa::profiling {
namespace {

constexpr char kVariable[] = "FURIOSA_PROFILER_OUTPUT_PATH";

}  // namespace

std::string follow_environment() {
  struct Current {
    std::string path;
    std::string problem;
    std::unique_ptr<Attachment> attachment;
  };
  static auto& current = *new Current();
  const char* const value = std::getenv(kVariable);
  const std::string path = value == nullptr ? "" : value;
  std::unique_ptr<Attachment> old, made;  // which lock the mutex themselves
  {
    const std::lock_guard lock(profiles_mutex());
    if (path == current.path) return current.problem;
    current.path = path;
    current.problem.clear();
    old = std::move(current.attachment);
  }
  if (path.empty()) return {};
  std::string problem;
  try {
    made = std::make_unique<Attachment>(TraceFile::at(path), kAllSessions);
  } catch (const std::exception& error) {
    problem = std::string(kVariable) + ": " + error.what();
  }
  const std::lock_guard lock(profiles_mutex());
  if (current.path == path) {
    std::swap(current.attachment, made);
    current.problem = problem;
  }
  return problem;
}

SessionProfile::SessionProfile()
    : session_([] {
        static std::atomic<uint64_t> last{kAllSessions};
        return last.fetch_add(1, std::memory_order_relaxed) + 1;
      }()) {}

SessionProfile::~SessionProfile() {
  if (attached()) TraceFile::flush_all();
}

void SessionProfile::write_to(const std::string& path) {
  attachment_ = std::make_unique<Attachment>(TraceFile::at(path), session_);
}

}  // namespace furiosa::profiling
