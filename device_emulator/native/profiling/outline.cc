#include "device_emulator/native/profiling/outline.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <string_view>

namespace furiosa::profiling {
namespace {

constexpr int64_t kLongest = int64_t{1} << 50;  // 13 days: what is longer ends there
constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

// "MAX_POOL" as "MaxPool".
std::string camel_case(std::string_view name) {
  std::string text;
  bool upper = true;
  for (const char one : name) {
    if (one != '_') text += upper ? one : static_cast<char>(std::tolower(one));
    upper = one == '_';
  }
  return text;
}

bool is_depthwise(const Program& program, const CommandRecord& command) {
  const OpcodeSchema& schema = *find_schema(command.opcode);
  const auto group = std::ranges::find(schema.attributes, "group", &OpcodeSchema::Attribute::name);
  const Tensor& x = program.tensor(command.operands[0]);
  const uint64_t groups = command.words[static_cast<size_t>(group - schema.attributes.begin())];
  return groups > 1 && x.rank > 0 && static_cast<uint64_t>(x.dim[x.rank - 1]) == groups;
}

std::string npu_label(const Program& program, const CommandRecord& command) {
  if (command.opcode != Opcode::CONV) {
    return "LowLevel" + camel_case(find_schema(command.opcode)->name);
  }
  return is_depthwise(program, command) ? "LowLevelDepthwiseConv" : "LowLevelConv2d";
}

// What an engine does for a command that computes from cycle `computes` on; `in` where it is at the
// beginning of the run.
std::string device_label(const Program& program, const ScheduleEvent& event, uint64_t computes,
                         bool in) {
  const CommandRecord& command = program.commands()[event.command];
  switch (event.engine) {
    case Engine::kCompute:
      return npu_label(program, command);
    case Engine::kDma:
      return event.start < computes ? "Load" : "Store";
    case Engine::kIo:
      return in ? "FeedInputs" : "FetchOutputs";
    case Engine::kHost:
      break;
  }
  if (command.opcode == Opcode::QUANTIZE) return "Quantize";
  if (command.opcode == Opcode::DEQUANTIZE) return "Dequantize";
  return in ? "Lower" : "Unlower";
}

int64_t nanoseconds(uint64_t cycles, uint64_t clock_hz) {
  const double time = static_cast<double>(cycles) * 1e9 / static_cast<double>(clock_hz);
  return time < static_cast<double>(kLongest) ? static_cast<int64_t>(time) : kLongest;
}

void extend(Outline::Extent& extent, const Outline::DeviceEvent& event) {
  const bool first = extent.end == 0;
  extent.start = first ? event.start : std::min(extent.start, event.start);
  extent.end = std::max(extent.end, event.end);
}

}  // namespace

Outline::Outline(const Program& program) : pes(std::max(program.schedule().pes, 1u)) {
  for (const CommandRecord& command : program.commands()) {
    commands.push_back({camel_case(find_schema(command.opcode)->name), std::string(command.name)});
  }
  const Schedule& schedule = program.schedule();
  std::vector<uint64_t> computes(commands.size(), kNever);
  uint64_t first = kNever;
  for (const ScheduleEvent& event : schedule.events) {
    if (event.engine != Engine::kCompute) continue;
    computes[event.command] = std::min(computes[event.command], event.start);
    first = std::min(first, event.start);
  }
  for (const ScheduleEvent& event : schedule.events) {
    const DeviceEvent& made = device.emplace_back(
        device_label(program, event, computes[event.command], event.start < first), event.command,
        event.engine, nanoseconds(event.start, schedule.clock_hz),
        nanoseconds(event.end, schedule.clock_hz), event.bytes);
    extend(extents[static_cast<size_t>(event.engine)], made);
    if (event.engine == Engine::kCompute || event.engine == Engine::kDma) extend(npu, made);
  }
}

}  // namespace furiosa::profiling
