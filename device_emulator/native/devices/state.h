#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_STATE_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_STATE_H_

// What the processes of an emulated host share: the layout of the state file and the bytes of the
// lock file. Only this header knows them.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace furiosa {

inline constexpr uint32_t kMaxCards = 32;
inline constexpr uint32_t kPesPerCard = 2;
inline constexpr uint32_t kMaxPes = kMaxCards * kPesPerCard;
inline constexpr uint32_t kMaxClients = 256;
inline constexpr uint32_t kThermalWords = 8;

inline constexpr uint64_t kStateMagic = 0x4441534f49525546;  // "FURIOSAD"
inline constexpr uint32_t kStateVersion = 1;

using SharedWord = std::atomic<uint64_t>;
static_assert(SharedWord::is_always_lock_free && sizeof(SharedWord) == 8);

// What runs add up to; written by one process, read by all.
struct Counters {
  SharedWord executions;
  SharedWord cycles;  // modelled, of the device's clock
  SharedWord compute_cycles;
  SharedWord dma_cycles;
  SharedWord io_cycles;
  SharedWord bytes_in;
  SharedWord bytes_out;
  SharedWord failures;
};
inline constexpr size_t kCounterWords = sizeof(Counters) / sizeof(SharedWord);

struct alignas(64) PeState {
  std::atomic<uint32_t> health;  // a Health
  std::atomic<uint32_t> resets;
  SharedWord faults;     // armed ones, packed: see fault.h
  SharedWord events[6];  // how often each fault has struck
};

struct alignas(64) CardState {
  SharedWord thermal[kThermalWords];  // the first one a Throttle, the last one counts exchanges
  PeState pes[kPesPerCard];
};

// One process. Whoever holds its lock owns it; the sums go on through all owners, so that those of
// a PE are those of all slots, whatever becomes of a process.
struct alignas(64) ClientSlot {
  std::atomic<int64_t> pid;  // 0 while the rest is written
  SharedWord started;        // nanoseconds since 1970
  SharedWord command[32];    // UTF-8 that ends with a NUL
  std::atomic<uint8_t> modes[kMaxPes];
  SharedWord dram[kMaxCards];
  Counters sums[kMaxPes];
  Counters before[kMaxPes];  // what they were when the owner came
};

struct State {
  SharedWord magic;  // written last
  uint32_t version;
  uint32_t reserved;
  uint64_t size;
  std::atomic<uint32_t> slots_used;  // slots from here on were never owned
  CardState cards[kMaxCards];
  ClientSlot clients[kMaxClients];
};
static_assert(std::is_standard_layout_v<State>);
static_assert(sizeof(PeState) == 64 && sizeof(CardState) == 192);
static_assert(sizeof(ClientSlot) == 64 * 138 && sizeof(State) == 64 + 192 * 32 + 8832 * 256);

// Bytes of the lock file.
inline constexpr int64_t kInitLock = 0;
inline constexpr int64_t kFaultLock = 1;
inline constexpr int64_t kThermalLocks = 2;
inline constexpr int64_t kPeLocks = 64;
inline constexpr int64_t kDramLocks = kPeLocks + kMaxPes;
inline constexpr int64_t kClientLocks = kDramLocks + kMaxCards;
static_assert(kThermalLocks + kMaxCards <= kPeLocks);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_STATE_H_
