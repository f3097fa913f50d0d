#include "device_emulator/native/schedule_parser.h"

#include <algorithm>

namespace furiosa {
namespace {

using namespace format;

// Adds one event after the other to a schedule.
class Events {
 public:
  Events(Schedule& schedule, size_t commands) : schedule_(schedule), commands_(commands) {}

  void add(const EventRecord& record) {
    const size_t i = schedule_.events.size();
    if (record.command >= commands_) {
      fail("event ", i, " is of command ", record.command, " of ", commands_);
    }
    if (record.engine >= kEngines)
      fail("event ", i, " has the unknown engine ", int{record.engine});
    for (const uint8_t byte : record.reserved) {
      if (byte != 0) fail("a reserved field of event ", i, " is not 0");
    }
    uint64_t& busy_until = busy_until_[record.engine];
    if (record.end > kMaxCycles || record.start > record.end || record.start < busy_until ||
        (i > 0 && record.start < schedule_.events.back().start)) {
      fail("event ", i, " from cycle ", record.start, " to ", record.end,
           " is before another one or too late");
    }
    uint64_t& bytes = schedule_.bytes[record.engine];
    if (record.bytes > uint64_t{kMaxBytes} || (bytes += record.bytes) > kMaxMoved) {
      fail("event ", i, " moves ", record.bytes, " bytes");
    }
    busy_until = record.end;
    schedule_.busy[record.engine] += record.end - record.start;
    const ScheduleEvent event{record.command, static_cast<Engine>(record.engine), record.start,
                              record.end, record.bytes};
    if (event.engine == Engine::kCompute || event.engine == Engine::kDma) {
      npu_start_ = std::min(npu_start_, event.start);
      schedule_.cycles = std::max(schedule_.cycles, event.end - npu_start_);
    }
    schedule_.events.push_back(event);
  }

 private:
  Schedule& schedule_;
  const size_t commands_;
  std::array<uint64_t, kEngines> busy_until_{};  // by the events so far
  uint64_t npu_start_ = ~uint64_t{0};
};

}  // namespace

Schedule parse_schedule(const HeaderRecord& header, std::string_view target,
                        std::span<const EventRecord> records, size_t commands) {
  Schedule schedule;
  schedule.target = target;
  schedule.clock_hz = header.clock_hz;
  schedule.pes = header.pes;
  schedule.dram_bytes = header.dram_bytes;
  if (schedule.clock_hz > kMaxClock || (schedule.clock_hz == 0 && !records.empty())) {
    fail("the schedule has a clock of ", schedule.clock_hz, " Hz");
  }
  if (schedule.pes > kMaxPes || (schedule.pes == 0 && !records.empty())) {
    fail("the schedule is of ", schedule.pes, " processing elements");
  }
  if (schedule.dram_bytes > uint64_t{kMaxBytes}) {
    fail("the schedule takes ", schedule.dram_bytes, " bytes of DRAM");
  }
  schedule.events.reserve(records.size());
  Events events(schedule, commands);
  for (const EventRecord& record : records) events.add(record);
  return schedule;
}

}  // namespace furiosa
