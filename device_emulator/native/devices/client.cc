#include "device_emulator/native/devices/client.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>

#include "device_emulator/native/text.h"

namespace furiosa {
namespace {

constexpr size_t kCommandSize = sizeof(ClientSlot::command);

// This process's command line.
std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  while (!text.empty() && text.back() == '\0') text.pop_back();
  std::ranges::replace_if(text, [](unsigned char c) { return c < ' '; }, ' ');
  text.resize(std::min(text.size(), kCommandSize - 1));
  return text;
}

}  // namespace

void introduce(ClientSlot& slot) {
  slot.pid = 0;
  for (std::atomic<uint8_t>& mode : slot.modes) mode = 0;
  for (SharedWord& bytes : slot.dram) bytes = 0;
  for (size_t pe = 0; pe < kMaxPes; ++pe) {
    const Counters& from = slot.sums[pe];
    Counters& to = slot.before[pe];
    to.executions = from.executions.load();
    to.cycles = from.cycles.load();
    to.compute_cycles = from.compute_cycles.load();
    to.dma_cycles = from.dma_cycles.load();
    to.io_cycles = from.io_cycles.load();
    to.bytes_in = from.bytes_in.load();
    to.bytes_out = from.bytes_out.load();
    to.failures = from.failures.load();
  }
  char text[kCommandSize] = {};
  const std::string command = command_line();
  std::memcpy(text, command.data(), command.size());
  for (size_t i = 0; i < std::size(slot.command); ++i) {
    uint64_t word;
    std::memcpy(&word, text + i * sizeof(word), sizeof(word));
    slot.command[i] = word;
  }
  slot.started = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                           std::chrono::system_clock::now().time_since_epoch())
                                           .count());
  slot.pid = getpid();
}

Client read_client(const ClientSlot& slot) {
  char text[kCommandSize];
  for (size_t i = 0; i < std::size(slot.command); ++i) {
    const uint64_t word = slot.command[i].load();
    std::memcpy(text + i * sizeof(word), &word, sizeof(word));
  }
  return {slot.pid.load(), slot.started.load(),
          valid_utf8({text, std::find(text, text + kCommandSize, '\0')})};
}

}  // namespace furiosa
