#include "device_emulator/native/devices/host.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <vector>

#include "device_emulator/native/devices/client.h"
#include "device_emulator/native/devices/device_error.h"

namespace furiosa {
namespace {

RecordLocks::Mode lock_mode(Hold how) {
  return how == Hold::kExclusive ? RecordLocks::Mode::kExclusive
         : how == Hold::kShared  ? RecordLocks::Mode::kShared
                                 : RecordLocks::Mode::kNone;
}

Hold strongest(const Host::Local& local) {
  for (const Hold how : {Hold::kExclusive, Hold::kShared}) {
    if (local.holds[static_cast<size_t>(how)] > 0) return how;
  }
  return Hold::kNone;
}

// All hosts that were ever used; locked before any of them.
struct Registry {
  std::mutex mutex;
  std::vector<Host*> hosts;
  std::map<std::string, Host*> names;
};

Registry& registry() {
  static auto* const only = new Registry;  // outlives all threads
  return *only;
}

// Whether these are still the files in `directory`.
bool lies_in(const StateFile& files, const std::string& directory) {
  struct stat status{};
  return stat((directory + "/" + StateFile::kLockName).c_str(), &status) == 0 &&
         status.st_dev == files.device && status.st_ino == files.inode;
}

// Without slashes at its end; "" stays.
std::string absolute_path(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  std::string found = std::filesystem::absolute(path, error).string();
  if (error) throw DeviceError(FURIOSA_INVALID, "no such path: " + path + ": " + error.message());
  while (found.size() > 1 && found.back() == '/') found.pop_back();
  return found;
}

std::string mib(uint64_t bytes) {
  std::string text = std::to_string(static_cast<double>(bytes) / (1 << 20));
  return text.substr(0, text.find('.') + 2) + " MiB";
}

}  // namespace

std::string device_file_name(uint32_t card, uint32_t first, uint32_t last) {
  std::string name = "npu" + std::to_string(card) + "pe" + std::to_string(first);
  return first == last ? name : name + "-" + std::to_string(last);
}

std::string pe_name(uint32_t pe) {
  return device_file_name(pe / kPesPerCard, pe % kPesPerCard, pe % kPesPerCard);
}

Host& Host::at(const std::string& given) {
  const std::string directory = absolute_path(given);
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto known = all.names.find(directory);
  if (known != all.names.end() &&
      (directory.empty() || lies_in(known->second->files_, directory))) {
    return *known->second;
  }
  // Once, also where the next line throws: the handlers lock.
  static const int registered =
      pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  if (registered != 0) throw DeviceError(FURIOSA_INTERNAL, "no memory to notice forks");
  StateFile files = directory.empty() ? StateFile::open_default() : StateFile::open(directory);
  const auto same = std::ranges::find_if(all.hosts, [&](const Host* host) {
    return files.inode != 0 && host->files_.inode == files.inode &&
           host->files_.device == files.device;
  });
  Host*& host = all.names[directory];
  if (same != all.hosts.end()) return *(host = *same);  // under another name
  host = new Host(std::move(files));
  all.hosts.push_back(host);
  return *host;
}

Host::Host(StateFile files) : files_(std::move(files)) {
  for (Local& local : locals_) local.turns = new Turns;
}

void Host::attach() {
  if (own_slot_ < kMaxClients) return;
  for (uint32_t slot = 0; slot < kMaxClients; ++slot) {
    if (!files_.locks.set(kClientLocks + slot, RecordLocks::Mode::kExclusive)) continue;
    std::atomic<uint32_t>& used = files_.state->slots_used;
    uint32_t before = used.load();
    while (before < slot + 1 && !used.compare_exchange_weak(before, slot + 1)) {
    }
    introduce(this->slot(slot));
    own_slot_ = slot;
    return;
  }
  throw DeviceError(FURIOSA_DEVICE_BUSY, std::to_string(kMaxClients) +
                                             " processes use emulated devices already: end one");
}

// Makes the lock and the table tell what this process holds; false where another one prevents it.
bool Host::apply(uint32_t pe) {
  const Hold how = strongest(locals_[pe]);
  if (!files_.locks.set(kPeLocks + pe, lock_mode(how))) return false;
  slot(own_slot_).modes[pe] = static_cast<uint8_t>(how);
  return true;
}

void Host::hold(std::span<const uint32_t> pes, Hold how) {
  const std::lock_guard lock(mutex_);
  attach();
  const auto undo = [&](std::span<const uint32_t> done) {
    for (const uint32_t pe : done) {
      --locals_[pe].holds[static_cast<size_t>(how)];
      apply(pe);
    }
  };
  for (size_t i = 0; i < pes.size(); ++i) {
    ++locals_[pes[i]].holds[static_cast<size_t>(how)];
    if (apply(pes[i])) continue;
    const std::string reason = occupant(pes[i], how);
    undo(pes.first(i + 1));
    throw DeviceError(FURIOSA_DEVICE_BUSY, reason);
  }
}

void Host::release(std::span<const uint32_t> pes, Hold how, uint64_t generation) noexcept {
  const std::lock_guard lock(mutex_);
  if (generation != this->generation()) return;  // the parent's
  for (const uint32_t pe : pes) {
    --locals_[pe].holds[static_cast<size_t>(how)];
    try {
      apply(pe);
    } catch (const DeviceError&) {  // a lock that was set can be weakened
    }
  }
}

void Host::charge(uint32_t card, uint64_t bytes, uint64_t capacity) {
  const std::lock_guard lock(mutex_);
  attach();
  const ScopedRecordLock among_processes(files_.locks, kDramLocks + card);
  uint64_t left = capacity - std::min(capacity, charged_[card]);
  for (uint32_t i = 0; i < slots_used(); ++i) {
    const uint64_t used = i == own_slot_ ? 0 : slot(i).dram[card].load();
    if (used != 0 && alive(i)) left -= std::min(left, used);
  }
  if (bytes > left) {
    throw DeviceError(FURIOSA_OUT_OF_DEVICE_MEMORY,
                      "a Program needs " + mib(bytes) + " of DRAM, npu" + std::to_string(card) +
                          " has " + mib(left) + " of " + mib(capacity) +
                          " left: free sessions, or name another device");
  }
  charged_[card] += bytes;
  slot(own_slot_).dram[card] = charged_[card];
}

void Host::refund(uint32_t card, uint64_t bytes, uint64_t generation) noexcept {
  const std::lock_guard lock(mutex_);
  if (generation != this->generation()) return;
  charged_[card] -= bytes;
  slot(own_slot_).dram[card] = charged_[card];
}

ThermalWords Host::thermal(uint32_t card) const {
  constexpr int kMostLooks = 1000;  // at one whose writer was stopped halfway
  const std::span<SharedWord, kThermalWords> shared(this->card(card).thermal);
  ThermalWords words;
  for (int look = 0; look < kMostLooks; ++look) {
    const uint64_t before = shared.back().load();
    for (size_t i = 0; i < kThermalWords; ++i) words[i] = shared[i].load();
    if (before % 2 == 0 && words.back() == before && shared.back().load() == before) break;
  }
  return words;
}

bool Host::exchange_thermal(uint32_t card, const ThermalWords& expected,
                            const ThermalWords& desired) {
  const std::lock_guard lock(mutex_);
  const int64_t byte = kThermalLocks + card;
  if (!files_.locks.set(byte, RecordLocks::Mode::kExclusive)) return false;
  const std::span<SharedWord, kThermalWords> shared(this->card(card).thermal);
  const uint64_t count = shared.back().load();
  const bool as_expected = count == expected.back();
  if (as_expected) {
    shared.back() = count | 1;  // odd while they change
    for (size_t i = 0; i + 1 < kThermalWords; ++i) shared[i] = desired[i];
    shared.back() = (count | 1) + 1;
  }
  files_.locks.set(byte, RecordLocks::Mode::kNone);
  return as_expected;
}

uint32_t Host::slots_used() const { return std::min(files_.state->slots_used.load(), kMaxClients); }

bool Host::alive(uint32_t slot) const {
  return slot == own_slot_ || files_.locks.holder(kClientLocks + slot) != 0;
}

pid_t Host::holder(uint32_t pe, Hold wanted) const {
  return files_.locks.holder(kPeLocks + pe, lock_mode(wanted));
}

Hold Host::own_hold(uint32_t pe) const {
  const std::lock_guard lock(mutex_);
  return strongest(locals_[pe]);
}

int64_t Host::own_slot() const {
  const std::lock_guard lock(mutex_);
  return own_slot_ < kMaxClients ? static_cast<int64_t>(own_slot_) : -1;
}

std::string Host::occupant(uint32_t pe, Hold wanted) const {
  const pid_t pid = holder(pe, wanted);
  if (pid == RecordLocks::kUnknown) {
    return pe_name(pe) + " is held by a process of another container: wait for it (device_wait), " +
           "or name another device";
  }
  if (pid == 0) return pe_name(pe) + " was held by another process a moment ago: try again";
  std::string text = pe_name(pe) + " is held by process " + std::to_string(pid);
  for (uint32_t i = 0; i < slots_used(); ++i) {
    const Client client = read_client(slot(i));
    if (client.pid == pid && alive(i)) text += " (" + client.command + ")";
  }
  return text + ": wait for it (device_wait), or name another device";
}

void Host::begin_child() {
  ++generation_;
  own_slot_ = kMaxClients;
  charged_ = {};
  for (Local& local : locals_) {
    local.holds = {};
    // The old ones may be in use by threads that there are no more.
    local.turns = new Turns;
  }
}

// Fork finds all as it is between two operations.
void Host::before_fork() {
  registry().mutex.lock();
  for (Host* host : registry().hosts) host->mutex_.lock();
}

void Host::after_fork_in_parent() {
  for (Host* host : registry().hosts) host->mutex_.unlock();
  registry().mutex.unlock();
}

void Host::after_fork_in_child() {
  for (Host* host : registry().hosts) host->begin_child();
  after_fork_in_parent();
}

}  // namespace furiosa
