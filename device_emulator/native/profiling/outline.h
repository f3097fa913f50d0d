#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_OUTLINE_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_OUTLINE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "device_emulator/native/program.h"

namespace furiosa::profiling {

// What profiles say of a Program, which need not live as long.
struct Outline {
  struct Command {
    std::string label;  // what it does, such as "MaxPool"
    std::string name;   // the ONNX nodes that it came from
  };
  // What the modelled device does, in nanoseconds from the start of the run.
  struct DeviceEvent {
    std::string label;
    uint32_t command;
    Engine engine;
    int64_t start;
    int64_t end;
    uint64_t bytes;
  };

  explicit Outline(const Program& program);
  // How many events a run is in a profile.
  size_t events() const { return commands.size() + device.size() + 2; }

  uint32_t pes;  // that work together
  std::vector<Command> commands;
  std::vector<DeviceEvent> device;
  // From the first start to the last end of each engine's events.
  struct Extent {
    int64_t start = 0;
    int64_t end = 0;
  };
  std::array<Extent, kEngines> extents{};
  Extent npu;  // of compute and DMA together
};

}  // namespace furiosa::profiling

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_OUTLINE_H_
