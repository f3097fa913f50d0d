#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_FAULTS_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_FAULTS_H_

#include <chrono>
#include <cstdint>

#include "device_emulator/native/devices/fault.h"
#include "device_emulator/native/devices/host.h"

namespace furiosa {

// Whether a run on a PE may meet a fault; else it need not look further.
inline bool ails(Host& host, uint32_t pe) {
  const PeState& state = host.pe(pe);
  return (state.faults.load(std::memory_order_relaxed) |
          state.health.load(std::memory_order_relaxed) |
          host.local(pe).faults.load(std::memory_order_relaxed)) != 0;
}

// What a run on a PE meets before it begins: returns whether the clock is throttled for it, or
// throws the DeviceError of the PE's fault; where the PE hangs, after `timeout` or when it is
// reset.
bool meet_faults(Host& host, uint32_t pe, std::chrono::duration<double> timeout);

// Makes a PE healthy again; runs that hang on it end.
void reset(Host& host, uint32_t pe);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_FAULTS_H_
