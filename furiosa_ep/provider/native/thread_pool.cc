#include "furiosa_ep/provider/native/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace furiosa {
namespace {

using std::chrono::steady_clock;

constexpr auto kProbeTime = std::chrono::milliseconds(1);
constexpr auto kNap = std::chrono::microseconds(20);
constexpr int kProbes = 3;

// Two tasks that wait for each other, in vain if one thread has to run both.
struct Meeting {
  steady_clock::time_point deadline = steady_clock::now() + kProbeTime;
  std::atomic<std::thread::id> first{};
  std::atomic<bool> met{false};

  void attend() {
    std::thread::id nobody{};
    const std::thread::id self = std::this_thread::get_id();
    if (!first.compare_exchange_strong(nobody, self) && nobody != self) met = true;
    // Naps leave the CPU to the other thread if there is but one.
    while (!met && steady_clock::now() < deadline) std::this_thread::sleep_for(kNap);
  }
};

}  // namespace

size_t SessionThreads::probe(const Ort& ort, const ort::KernelContext* context) {
  Meeting meeting;
  const size_t cpus = std::max<size_t>(std::thread::hardware_concurrency(), 1);
  if (cpus > 1) {
    ort.check(ort.api[ort::kKernelContextParallelFor](
        context, [](void* m, size_t) { static_cast<Meeting*>(m)->attend(); }, 2, 0, &meeting));
  }
  if (meeting.met) {
    known_ = cpus;
    return cpus;
  }
  if (cpus == 1 || lonely_probes_.fetch_add(1) + 1 >= kProbes) known_ = 1;
  return 1;
}

void SessionThreadPool::run(size_t count, void (*task)(void*, size_t), void* context) {
  if (concurrency_ == 1) {
    for (size_t i = 0; i < count; ++i) task(context, i);
    return;
  }
  ort_.check(ort_.api[ort::kKernelContextParallelFor](context_, task, count, 0, context));
}

}  // namespace furiosa
