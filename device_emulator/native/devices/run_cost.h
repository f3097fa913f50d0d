#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_RUN_COST_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_RUN_COST_H_

#include <cstdint>

#include "device_emulator/native/program.h"

namespace furiosa {

// What one run of a Program costs the device.
struct RunCost {
  uint64_t cycles = 0;  // modelled, of the device's clock
  uint64_t compute_cycles = 0;
  uint64_t dma_cycles = 0;
  uint64_t io_cycles = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t dram_bytes = 0;  // for as long as the Program is there
};

RunCost run_cost(const Program& program);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_RUN_COST_H_
