#include "device_emulator/native/devices/device.h"

#include <algorithm>

#include "device_emulator/native/devices/configuration.h"
#include "device_emulator/native/devices/device_error.h"
#include "device_emulator/native/devices/faults.h"

namespace furiosa {
namespace {

// For a run that meets the fault.
constexpr uint32_t kOverheatedPermille = 500;

// As the card is throttled now.
uint32_t clock_permille_of(const CardState& card) {
  const uint64_t throttle = card.thermal[0].load(std::memory_order_relaxed);
  if (throttle == 0) [[likely]]
    return kFullClockPermille;
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  const auto permille = static_cast<uint32_t>(throttle % FURIOSA_THROTTLE_STEP);
  const bool over = static_cast<uint64_t>(now.count()) >= throttle;
  return over || permille == 0 ? kFullClockPermille : std::min(permille, kFullClockPermille);
}

uint32_t pe_index(uint32_t card, uint32_t pe) { return card * kPesPerCard + pe; }

// Of a counter with one writer at a time.
void add(SharedWord& counter, uint64_t amount) {
  counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

}  // namespace

std::shared_ptr<Device> Device::open(std::vector<DeviceFile> files, Hold how) {
  const std::shared_ptr<const Configuration> configuration = current_configuration();
  std::vector<uint64_t> dram;
  if (files.empty()) throw DeviceError(FURIOSA_DEVICE_NOT_FOUND, "no device is named");
  for (const DeviceFile& file : files) {
    if (file.first > file.last || file.last >= kPesPerCard ||
        file.card >= configuration->cards.size()) {
      throw DeviceError(FURIOSA_DEVICE_NOT_FOUND,
                        file.name() + ": expected PEs 0 and 1 of cards 0 to " +
                            std::to_string(configuration->cards.size() - 1));
    }
    dram.push_back(configuration->cards[file.card].dram_bytes);
  }
  std::shared_ptr<Device> device(
      new Device(configuration->host, std::move(files), std::move(dram), how));
  device->hold();
  for (const uint32_t pe : device->pes_) {
    if (device->host_.pe(pe).health.load() != 0) reset(device->host_, pe);
  }
  return device;
}

Device::Device(Host& host, std::vector<DeviceFile> files, std::vector<uint64_t> dram, Hold how)
    : host_(host), files_(std::move(files)), dram_(std::move(dram)), how_(how) {
  for (const DeviceFile& file : files_) {
    for (uint32_t pe = file.first; pe <= file.last; ++pe) pes_.push_back(pe_index(file.card, pe));
  }
  std::vector<uint32_t> sorted = pes_;
  std::ranges::sort(sorted);
  const auto twice = std::ranges::adjacent_find(sorted);
  if (twice != sorted.end()) {
    throw DeviceError(FURIOSA_DEVICE_NOT_FOUND, pe_name(*twice) + " is named twice");
  }
}

Device::~Device() { host_.release(pes_, how_, generation_); }

void Device::hold() {
  const std::lock_guard lock(mutex_);
  const uint64_t current = host_.generation();
  if (generation_ == current) return;
  host_.hold(pes_, how_);
  generation_ = current;
}

Placement::Placement(std::shared_ptr<Device> device, const RunCost& cost)
    : device_(std::move(device)), cost_(cost) {
  renew();
}

Placement::~Placement() {
  for (const DeviceFile& file : device_->files_) {
    device_->host_.refund(file.card, cost_.dram_bytes, generation_);
  }
}

void Placement::renew() {
  device_->hold();
  const std::lock_guard lock(mutex_);
  const uint64_t current = device_->host_.generation();
  if (generation_ == current) return;
  const std::vector<DeviceFile>& files = device_->files_;
  for (size_t i = 0; i < files.size(); ++i) {
    try {
      device_->host_.charge(files[i].card, cost_.dram_bytes, device_->dram_[i]);
    } catch (...) {
      while (i > 0) device_->host_.refund(files[--i].card, cost_.dram_bytes, current);
      throw;
    }
  }
  generation_ = current;
}

DeviceRun::DeviceRun(Placement& placement, std::chrono::duration<double> timeout)
    : host_(placement.device_->host_), cost_(placement.cost_), generation_(host_.generation()) {
  if (placement.generation_.load(std::memory_order_relaxed) != generation_) [[unlikely]] {
    placement.renew();
  }
  const std::vector<DeviceFile>& files = placement.device_->files_;
  const DeviceFile& file =
      files.size() == 1
          ? files[0]
          : files[placement.next_.fetch_add(1, std::memory_order_relaxed) % files.size()];
  first_ = pe_index(file.card, file.first);
  last_ = pe_index(file.card, file.last);
  for (uint32_t pe = first_; pe <= last_; ++pe) host_.local(pe).turns.load()->enter();
  clock_permille_ = clock_permille_of(host_.card(file.card));
  try {
    for (uint32_t pe = first_; pe <= last_; ++pe) {
      if (ails(host_, pe) && meet_faults(host_, pe, timeout)) [[unlikely]]
        clock_permille_ = kOverheatedPermille;
    }
  } catch (...) {
    for (uint32_t pe = first_; pe <= last_; ++pe) leave(pe, pe == first_);
    throw;
  }
}

DeviceRun::~DeviceRun() {
  if (host_.generation() != generation_) return;  // a child that was forked during the run
  for (uint32_t pe = first_; pe <= last_; ++pe) leave(pe, pe == first_);
}

// The bytes of fused PEs count on the first one, all else on both.
void DeviceRun::leave(uint32_t pe, bool first) {
  Counters& counters = host_.counters(pe);
  host_.local(pe).turns.load()->leave([&] {
    if (!succeeded_) return add(counters.failures, 1);
    const auto at_clock = [this](uint64_t cycles) {
      return clock_permille_ == kFullClockPermille ? cycles
                                                   : cycles * kFullClockPermille / clock_permille_;
    };
    add(counters.executions, 1);
    add(counters.cycles, at_clock(cost_.cycles));
    add(counters.compute_cycles, at_clock(cost_.compute_cycles));
    add(counters.dma_cycles, at_clock(cost_.dma_cycles));
    add(counters.io_cycles, cost_.io_cycles);
    if (first) {
      add(counters.bytes_in, cost_.bytes_in);
      add(counters.bytes_out, cost_.bytes_out);
    }
  });
}

}  // namespace furiosa
