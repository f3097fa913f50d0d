#include "device_emulator/native/devices/run_cost.h"

namespace furiosa {

RunCost run_cost(const Program& program) {
  const Schedule& schedule = program.schedule();
  const auto busy = [&](Engine engine) { return schedule.busy[static_cast<size_t>(engine)]; };
  RunCost cost;
  cost.cycles = schedule.cycles;
  cost.compute_cycles = busy(Engine::kCompute);
  cost.dma_cycles = busy(Engine::kDma);
  cost.io_cycles = busy(Engine::kIo);
  for (const Binding& input : program.inputs()) cost.bytes_in += input.size;
  for (const Binding& output : program.outputs()) cost.bytes_out += output.size;
  // Where nobody has modelled it.
  const uint64_t least = cost.bytes_in + cost.bytes_out + program.constants().size();
  cost.dram_bytes = schedule.dram_bytes == 0 ? least : schedule.dram_bytes;
  return cost;
}

}  // namespace furiosa
