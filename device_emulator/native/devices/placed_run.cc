#include "device_emulator/native/devices/placed_run.h"

#include <optional>

#include "device_emulator/native/profiling/recorder.h"

namespace furiosa {

void run_placed(const Executable& executable, Placement& placement,
                std::chrono::duration<double> timeout, std::span<const void* const> inputs,
                std::span<void* const> outputs, ThreadPool& pool, profiling::Origin origin) {
  const bool profiled = profiling::attached();
  const int64_t start = profiled ? profiling::now() : 0;
  std::optional<DeviceRun> run;
  try {
    run.emplace(placement, timeout);
  } catch (const std::exception& error) {
    if (profiled) executable.record_failure(origin, start, error.what());
    throw;
  }
  origin.card = run->card();
  origin.pe = run->pe();
  origin.clock_permille = run->clock_permille();
  executable.run(inputs, outputs, pool, origin);
  run->succeeded();
}

}  // namespace furiosa
