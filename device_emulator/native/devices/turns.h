#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_TURNS_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_TURNS_H_

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace furiosa {

// Admits as many at once as the host has processors, first come first served.
class Turns {
 public:
  explicit Turns(uint64_t places = std::max(1u, std::thread::hardware_concurrency()))
      : places_(places) {}

  // Waits for its turn.
  void enter() {
    std::unique_lock lock(mutex_);
    const uint64_t ticket = came_++;
    if (ticket < left_ + places_) return;
    ++waiting_;
    turn_.wait(lock, [&] { return ticket < left_ + places_; });
    --waiting_;
  }

  // Makes room, after `last` under the lock of all that leave.
  template <class Last>
  void leave(Last&& last) {
    bool wake;
    {
      const std::lock_guard lock(mutex_);
      last();
      ++left_;
      wake = waiting_ != 0;
    }
    if (wake) turn_.notify_all();
  }

 private:
  const uint64_t places_;
  std::mutex mutex_;
  std::condition_variable turn_;
  uint64_t came_ = 0, left_ = 0, waiting_ = 0;
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_TURNS_H_
