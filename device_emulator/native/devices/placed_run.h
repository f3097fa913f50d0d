#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_PLACED_RUN_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_PLACED_RUN_H_

#include <chrono>
#include <span>

#include "device_emulator/native/devices/device.h"
#include "device_emulator/native/executor.h"

namespace furiosa {

// Whose run it is, as profiles show it.
struct Runner {
  uint64_t session = 0;        // 0 where there is none
  std::string_view partition;  // of the session's model
};

// Runs `executable` on the device that has it, as DeviceRun and Executable::run say. Profiles show
// a run that the device fails, too.
void run_placed(const Executable& executable, Placement& placement,
                std::chrono::duration<double> timeout, std::span<const void* const> inputs,
                std::span<void* const> outputs, ThreadPool& pool, const Runner& runner = {});

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_PLACED_RUN_H_
