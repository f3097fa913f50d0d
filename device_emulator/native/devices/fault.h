#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_FAULT_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_FAULT_H_

#include <cstdint>

#include "device_emulator/native/devices/state.h"
#include "furiosa_ep/include/furiosa_ep.h"

namespace furiosa {

// What ails a PE.
enum class Health : uint32_t { kGood, kHanging, kTimeout, kLost, kDmaError, kEccError };

// Faults that wait to strike a PE: how many times each, packed into one word, so that a run sees
// with one load that there is none.
class ArmedFaults {
 public:
  static constexpr uint64_t kForever = 1023;

  explicit ArmedFaults(SharedWord& word) : word_(word) {}

  uint64_t times(furiosa_fault fault) const {
    return word_.load(std::memory_order_relaxed) >> shift(fault) & kMask;
  }

  void arm(furiosa_fault fault, uint64_t times) {
    uint64_t old = word_.load(std::memory_order_relaxed);
    while (!word_.compare_exchange_weak(
        old, (old & ~(kMask << shift(fault))) | (times & kMask) << shift(fault))) {
    }
  }

  // Whether the fault strikes now.
  bool strike(furiosa_fault fault) {
    uint64_t old = word_.load(std::memory_order_relaxed);
    for (;;) {
      const uint64_t left = old >> shift(fault) & kMask;
      if (left == 0) return false;
      if (left == kForever) return true;
      if (word_.compare_exchange_weak(old, old - (uint64_t{1} << shift(fault)))) return true;
    }
  }

  void clear() { word_.store(0); }

 private:
  static constexpr uint64_t kBits = 10;
  static constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
  static uint64_t shift(furiosa_fault fault) { return kBits * static_cast<uint64_t>(fault); }

  SharedWord& word_;
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_FAULT_H_
