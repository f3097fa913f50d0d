#include "device_emulator/native/devices/run_cost.h"

namespace furiosa {

RunCost run_cost(const Program& program) {
  RunCost cost;
  for (const Binding& input : program.inputs()) cost.bytes_in += input.size;
  for (const Binding& output : program.outputs()) cost.bytes_out += output.size;
  cost.dram_bytes =
      cost.bytes_in + cost.bytes_out + program.constants().size() + program.arena_size();
  return cost;
}

}  // namespace furiosa
