#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_HOST_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_HOST_H_

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "device_emulator/native/devices/state_file.h"
#include "device_emulator/native/devices/turns.h"

namespace furiosa {

using ThermalWords = std::array<uint64_t, kThermalWords>;

// How a process holds a PE.
enum class Hold : uint8_t { kNone, kShared, kExclusive };

// An emulated host as this process takes part in it: what it holds and what it counts. PEs are
// numbered through: card * kPesPerCard + PE. Thread-safe. A forked child begins with nothing, in a
// new generation.
class Host {
 public:
  // What this process alone has of a PE.
  struct Local {
    std::atomic<Turns*> turns;
    SharedWord faults{0};  // armed for this process
    std::array<uint32_t, 3> holds{};
  };

  // The host in `directory`, the default one for "". The same object each time, which stays.
  static Host& at(const std::string& directory);

  const std::string& directory() const { return files_.directory; }
  uint64_t generation() const { return generation_.load(std::memory_order_relaxed); }

  CardState& card(uint32_t card) const { return files_.state->cards[card]; }
  PeState& pe(uint32_t pe) const { return card(pe / kPesPerCard).pes[pe % kPesPerCard]; }
  Local& local(uint32_t pe) { return locals_[pe]; }

  // Holds all of `pes`, or throws DeviceError (busy) and holds none. Each call is to be undone.
  void hold(std::span<const uint32_t> pes, Hold how);
  void release(std::span<const uint32_t> pes, Hold how, uint64_t generation) noexcept;

  // Takes DRAM of a card, of which `capacity` bytes are there; throws DeviceError.
  void charge(uint32_t card, uint64_t bytes, uint64_t capacity);
  void refund(uint32_t card, uint64_t bytes, uint64_t generation) noexcept;

  // Where this process counts, once it has held anything in this generation.
  Counters& counters(uint32_t pe) { return slot(own_slot_).sums[pe]; }

  // What processes share of a card's temperature, all of it from one exchange.
  ThermalWords thermal(uint32_t card) const;
  // Replaces it where it is as expected; otherwise, or where another process is replacing it,
  // returns false. Never waits for one.
  bool exchange_thermal(uint32_t card, const ThermalWords& expected, const ThermalWords& desired);

  // What others may know.
  uint32_t slots_used() const;
  bool alive(uint32_t slot) const;  // whether a process owns it
  ClientSlot& slot(uint32_t slot) const { return files_.state->clients[slot]; }
  // A process that holds a PE so that this one cannot have it as asked, or 0.
  pid_t holder(uint32_t pe, Hold wanted) const;
  // What this process holds of a PE.
  Hold own_hold(uint32_t pe) const;
  int64_t own_slot() const;

 private:
  explicit Host(StateFile files);
  void attach();  // gets a slot
  bool apply(uint32_t pe);
  std::string occupant(uint32_t pe, Hold wanted) const;
  void begin_child();

  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();

  const StateFile files_;
  mutable std::mutex mutex_;
  std::atomic<uint64_t> generation_{1};
  std::atomic<uint32_t> own_slot_ = kMaxClients;
  std::array<Local, kMaxPes> locals_;
  std::array<uint64_t, kMaxCards> charged_{};
};

// The file name of PEs `first` to `last` of a card, such as "npu0pe0-1".
std::string device_file_name(uint32_t card, uint32_t first, uint32_t last);
std::string pe_name(uint32_t pe);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_HOST_H_
