#include "device_emulator/native/devices/faults.h"

#include <thread>

#include "device_emulator/native/devices/device_error.h"

namespace furiosa {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPoll(1);

struct Failure {
  furiosa_fault fault;
  Health health;
  furiosa_status status;
  const char* what;
};

// Those that end a run, the gravest first.
constexpr Failure kFailures[] = {
    {FURIOSA_FAULT_LOST, Health::kLost, FURIOSA_DEVICE_LOST, "has disappeared"},
    {FURIOSA_FAULT_HANG, Health::kTimeout, FURIOSA_DEVICE_TIMEOUT, "has hung"},
    {FURIOSA_FAULT_DMA_ERROR, Health::kDmaError, FURIOSA_DMA_ERROR, "has failed to move data"},
    {FURIOSA_FAULT_ECC_UNCORRECTED, Health::kEccError, FURIOSA_ECC_ERROR,
     "has found flipped bits that it cannot correct"},
};

[[noreturn]] void fail(uint32_t pe, const Failure& failure, const std::string& more) {
  throw DeviceError(failure.status, pe_name(pe) + " " + failure.what + more);
}

std::string remedy(uint32_t pe) {
  return "reset it (furiosactl reset " + pe_name(pe) +
         "), or create a new session, which does (docs/devices.md#faults)";
}

// Fails a run on a PE that has failed before.
[[noreturn]] void fail_again(uint32_t pe, Health health) {
  for (const Failure& failure : kFailures) {
    if (failure.health == health) fail(pe, failure, " before: " + remedy(pe));
  }
  throw DeviceError(FURIOSA_INTERNAL, pe_name(pe) + " is in an unknown state: " + remedy(pe));
}

// Whether a fault strikes, that of all processes or that of this one.
bool strikes(Host& host, uint32_t pe, furiosa_fault fault) {
  PeState& state = host.pe(pe);
  if (!ArmedFaults(host.local(pe).faults).strike(fault) &&
      !ArmedFaults(state.faults).strike(fault)) {
    return false;
  }
  state.events[fault].fetch_add(1);
  return true;
}

// A run on a PE that hangs.
[[noreturn]] void hang(Host& host, uint32_t pe, std::chrono::duration<double> timeout) {
  const Failure& failure = kFailures[1];
  PeState& state = host.pe(pe);
  const uint32_t resets = state.resets.load();
  const auto hanging = static_cast<uint32_t>(Health::kHanging);
  const Clock::time_point start = Clock::now();
  for (;;) {
    const uint32_t health = state.health.load();
    if (state.resets.load() != resets) fail(pe, failure, ", and was reset during the run");
    if (health != hanging && health != 0) fail_again(pe, static_cast<Health>(health));
    if (Clock::now() - start >= timeout) break;
    std::this_thread::sleep_for(kPoll);
  }
  uint32_t expected = hanging;
  state.health.compare_exchange_strong(expected, static_cast<uint32_t>(failure.health));
  std::string seconds = std::to_string(timeout.count());
  fail(pe, failure,
       ": a run did not end within " + seconds.substr(0, seconds.find('.') + 3) +
           " s (option run_timeout); " + remedy(pe));
}

}  // namespace

bool meet_faults(Host& host, uint32_t pe, std::chrono::duration<double> timeout) {
  PeState& state = host.pe(pe);
  const auto health = static_cast<Health>(state.health.load());
  if (health == Health::kHanging) hang(host, pe, timeout);
  if (health != Health::kGood) fail_again(pe, health);
  for (const Failure& failure : kFailures) {
    if (!strikes(host, pe, failure.fault)) continue;
    const bool hangs = failure.fault == FURIOSA_FAULT_HANG;
    state.health = static_cast<uint32_t>(hangs ? Health::kHanging : failure.health);
    if (hangs) hang(host, pe, timeout);
    fail(pe, failure, ": " + remedy(pe));
  }
  strikes(host, pe, FURIOSA_FAULT_ECC_CORRECTED);
  return strikes(host, pe, FURIOSA_FAULT_OVERHEAT);
}

void reset(Host& host, uint32_t pe) {
  PeState& state = host.pe(pe);
  state.resets.fetch_add(1);  // first, so that what hangs sees why it is healthy
  state.health = static_cast<uint32_t>(Health::kGood);
}

}  // namespace furiosa
