#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_TURNS_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_TURNS_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace furiosa {

// Admits as many at once as the host has processors, first come first served. Who need not wait
// pays two atomic operations, one as it enters and one as it leaves.
class Turns {
 public:
  explicit Turns(uint64_t places = std::max(1u, std::thread::hardware_concurrency()))
      : places_(places) {}

  // Waits for its turn.
  void enter() {
    const uint64_t ticket = came_.fetch_add(1, std::memory_order_relaxed);
    if (!admitted(ticket)) [[unlikely]]
      wait(ticket);
  }

  // Makes room, after `last`, in which only one is at a time.
  template <class Last>
  void leave(Last&& last) {
    lock();
    last();
    left_.store(left_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    const bool wake = waiting_ != 0;
    unlock();
    if (wake) [[unlikely]] {
      {
        const std::lock_guard all_are_asleep(mutex_);
      }
      turn_.notify_all();
    }
  }

 private:
  bool admitted(uint64_t ticket) const {
    return ticket < left_.load(std::memory_order_acquire) + places_;
  }

  void wait(uint64_t ticket) {
    std::unique_lock sleeping(mutex_);
    lock();
    ++waiting_;
    unlock();
    // Whoever leaves from now on sees that somebody waits.
    turn_.wait(sleeping, [&] { return admitted(ticket); });
    lock();
    --waiting_;
    unlock();
  }

  // For some nanoseconds.
  void lock() {
    while (busy_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
  }
  void unlock() { busy_.store(false, std::memory_order_release); }

  const uint64_t places_;
  std::atomic<uint64_t> came_{0};
  std::atomic<uint64_t> left_{0};
  std::atomic<bool> busy_{false};
  uint64_t waiting_ = 0;  // under lock()
  std::mutex mutex_;
  std::condition_variable turn_;
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_TURNS_H_
