#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_SPINNING_POOL_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_SPINNING_POOL_H_

#include <atomic>
#include <thread>
#include <vector>

#include "kernels/native/parallel.h"

namespace furiosa {

// Threads for measurements: the calling one, and workers that spin while they wait, so that a
// parallel region starts at once. One run at a time.
class SpinningPool final : public ThreadPool {
 public:
  explicit SpinningPool(size_t threads) {
    for (size_t i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~SpinningPool() override { stop_ = true; }

  size_t concurrency() const override { return workers_.size() + 1; }

  void run(size_t count, void (*task)(void*, size_t), void* context) override {
    task_ = task;
    context_ = context;
    count_ = count;
    next_ = 0;
    running_ = workers_.size();
    generation_.fetch_add(1, std::memory_order_release);
    drain();
    while (running_.load(std::memory_order_acquire) != 0) pause();
  }

 private:
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  void drain() {
    for (size_t i; (i = next_.fetch_add(1)) < count_;) task_(context_, i);
  }

  void work() {
    for (size_t seen = 0; !stop_;) {
      if (generation_.load(std::memory_order_acquire) == seen) {
        pause();
        continue;
      }
      ++seen;
      drain();
      running_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<size_t> generation_{0}, next_{0}, running_{0};
  size_t count_ = 0;
  void (*task_)(void*, size_t) = nullptr;
  void* context_ = nullptr;
  std::vector<std::jthread> workers_;  // joins before what they use is gone
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_SPINNING_POOL_H_
