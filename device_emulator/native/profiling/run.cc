#include "device_emulator/native/profiling/run.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace furiosa::profiling {

int64_t Run::at_clock(int64_t time) const {
  const Outline::Extent& npu = outline->npu;
  const int64_t within = std::clamp(time, npu.start, npu.end) - npu.start;
  return time - within + within * kFullClockPermille / clock_permille;
}

Thread Thread::current() {
  Thread thread{syscall(SYS_gettid), {}};
  pthread_getname_np(pthread_self(), thread.name.data(), thread.name.size());
  return thread;
}

uint64_t reserve_spans(uint64_t count) {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(count, std::memory_order_relaxed);
}

uint64_t next_run() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace furiosa::profiling
