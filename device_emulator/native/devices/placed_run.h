#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_PLACED_RUN_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_PLACED_RUN_H_

#include <chrono>
#include <span>

#include "device_emulator/native/devices/device.h"
#include "device_emulator/native/executor.h"

namespace furiosa {

// Runs `executable` on the device that has it, as DeviceRun and Executable::run say. Profiles show
// the run as that of `origin`, where the device is not said yet, and one that the device fails,
// too.
void run_placed(const Executable& executable, Placement& placement,
                std::chrono::duration<double> timeout, std::span<const void* const> inputs,
                std::span<void* const> outputs, ThreadPool& pool, profiling::Origin origin = {});

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_PLACED_RUN_H_
