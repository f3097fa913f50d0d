// The schedule of a Program: what it says, and that an unsound one is refused with the reason.

#include <cstdio>
#include <cstring>
#include <functional>

#include "tests/native/samples.h"

namespace furiosa::test {
namespace {

bool failed(const char* what, const char* found) {
  std::fprintf(stderr, "%s: %s\n", what, found);
  return false;
}

bool says_what_the_device_does() {
  const Program program = Program::parse(samples().front().program);
  const Schedule& schedule = program.schedule();
  const ScheduleEvent& first = schedule.events.front();
  const bool right = schedule.clock_hz == 2'000'000 && schedule.pes == 1 &&
                     schedule.dram_bytes == 4096 && schedule.events.size() == 7 &&
                     first.command == 0 && first.engine == Engine::kHost && first.start == 0 &&
                     first.end == 90 && first.bytes == 0 && schedule.cycles == 530 - 95 &&
                     schedule.busy == std::array<uint64_t, kEngines>{390, 50, 20, 90} &&
                     schedule.bytes == std::array<uint64_t, kEngines>{0, 880, 380, 0};
  return right || failed("the sample's schedule", "is read wrongly");
}

bool empty_where_nobody_has_modelled_it() {
  const Program program = Program::parse(samples().back().program);
  const Schedule& schedule = program.schedule();
  const bool right = schedule.events.empty() && schedule.target.empty() && schedule.cycles == 0 &&
                     schedule.clock_hz == 0;
  return right || failed("a schedule", "out of nothing");
}

using Events = std::function<void(ProgramBuilder&)>;

Bytes copy_with(const Events& events) {
  ProgramBuilder b;
  const uint32_t x = b.input(DType::kU8, {4});
  b.command(Opcode::COPY, {x, kAbsent, b.output(DType::kU8, {4})});
  events(b);
  return b.finish();
}

bool refuses(Bytes program, const char* reason) {
  seal(program);
  try {
    Program::parse(program);
  } catch (const Error& error) {
    return std::strstr(error.what(), reason) != nullptr || failed(reason, error.what());
  }
  return failed(reason, "is accepted");
}

bool refuses(const Events& events, const char* reason) {
  return refuses(copy_with(events), reason);
}

// A valid schedule with `value` at byte `offset` of the header, or of the first event.
template <class T>
Bytes changed(size_t offset, T value, bool in_event = false) {
  Bytes bytes = copy_with([](ProgramBuilder& b) { b.event(Engine::kCompute, 0, 9); });
  // Of 2 tensors, 1 command, no words, 3 operands and 2 bindings, on multiples of 64 bytes.
  constexpr size_t kEventsAt = 128 + 320 + 64 + 64 + 192;
  std::memcpy(bytes.data() + offset + (in_event ? kEventsAt : 0), &value, sizeof value);
  return bytes;
}

bool refuses_what_it_cannot_trust() {
  constexpr uint64_t kLong = uint64_t{1} << 53, kMany = uint64_t{1} << 40;
  constexpr size_t kEventCountAt = 80, kPesAt = 84, kClockAt = 88, kDramAt = 96, kTargetAt = 104;
  return refuses([](auto& b) { b.event(Engine::kCompute, 5, 4); }, "from cycle 5 to 4") &&
         refuses([](auto& b) { b.event(static_cast<Engine>(4), 5, 6); }, "unknown engine 4") &&
         refuses([](auto& b) { b.event(Engine::kDma, 0, kLong + 1); }, "too late") &&
         refuses([](auto& b) { b.event(Engine::kDma, 0, 1, kMany + 1); }, "moves") &&
         refuses(
             [](auto& b) {
               b.event(Engine::kDma, 4, 5);
               b.event(Engine::kIo, 3, 4);
             },
             "event 1 from cycle 3") &&
         refuses(
             [](auto& b) {
               b.event(Engine::kDma, 4, 9);
               b.event(Engine::kIo, 5, 6);
               b.event(Engine::kDma, 8, 9);
             },
             "event 2 from cycle 8") &&
         refuses(changed(0, uint32_t{1}, true), "is of command 1 of 1") &&
         refuses(changed(5, uint8_t{1}, true), "a reserved field of event 0") &&
         refuses(changed(kEventCountAt, ~uint32_t{0}), "the section of events passes the end") &&
         refuses(changed(kPesAt, uint32_t{0}), "0 processing elements") &&
         refuses(changed(kPesAt, uint32_t{1025}), "1025 processing elements") &&
         refuses(changed(kClockAt, uint64_t{0}), "a clock of 0 Hz") &&
         refuses(changed(kClockAt, ~uint64_t{0}), "a clock of") &&
         refuses(changed(kDramAt, kMany + 1), "bytes of DRAM") &&
         refuses(changed(kTargetAt, ~uint32_t{0}), "a name passes");
}

bool accepts_the_largest() {
  const Bytes program = copy_with([](ProgramBuilder& b) {
    for (int i = 0; i < 3; ++i) b.event(Engine::kDma, 7, 7, uint64_t{1} << 40);
    b.event(Engine::kCompute, 7, uint64_t{1} << 53);
  });
  const Schedule schedule = Program::parse(program).schedule();
  return schedule.cycles == (uint64_t{1} << 53) - 7 || failed("the largest", "is read wrongly");
}

}  // namespace
}  // namespace furiosa::test

int main() {
  using namespace furiosa::test;
  return says_what_the_device_does() && empty_where_nobody_has_modelled_it() &&
                 refuses_what_it_cannot_trust() && accepts_the_largest()
             ? 0
             : 1;
}
