#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_DEVICE_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_DEVICE_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "device_emulator/native/devices/host.h"
#include "device_emulator/native/devices/run_cost.h"

namespace furiosa {

// PEs of a card that work together.
struct DeviceFile {
  uint32_t card;
  uint32_t first;
  uint32_t last;
  std::string name() const { return device_file_name(card, first, last); }
};

// Device files that this process holds as long as the object lives, used in turn. In a forked child
// they are held anew at the first run.
class Device {
 public:
  // Holds all of `files`, which exist in the current configuration, and resets those that have
  // failed. Throws DeviceError (busy, not found).
  static std::shared_ptr<Device> open(std::vector<DeviceFile> files, Hold how);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::vector<DeviceFile>& files() const { return files_; }

 private:
  friend class Placement;
  friend class DeviceRun;

  Device(Host& host, std::vector<DeviceFile> files, std::vector<uint64_t> dram, Hold how);
  void hold();

  Host& host_;
  const std::vector<DeviceFile> files_;
  const std::vector<uint64_t> dram_;  // of each file's card
  const Hold how_;
  std::vector<uint32_t> pes_;
  std::atomic<uint64_t> generation_{0};  // of the host, in which they are held
  std::mutex mutex_;                     // of hold() after a fork
};

// A Program in the DRAM of a device.
class Placement {
 public:
  // Throws DeviceError where there is not enough DRAM.
  Placement(std::shared_ptr<Device> device, const RunCost& cost);
  ~Placement();
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;

  // Whether it takes DRAM; in a forked child, from its first run on.
  bool takes_dram() const { return generation_ == device_->host_.generation(); }

 private:
  friend class DeviceRun;

  void charge();
  void renew();

  const std::shared_ptr<Device> device_;
  const RunCost cost_;
  std::atomic<uint64_t> generation_{0};  // of the host, in which DRAM is charged
  std::mutex mutex_;                     // of charge() after a fork
  std::atomic<size_t> next_{0};          // which file's turn it is
};

// One run of a Program on its device, from its turn on until the object goes.
class DeviceRun {
 public:
  // Waits for the turn. Throws DeviceError for a fault; that of a hang after `timeout`.
  DeviceRun(Placement& placement, std::chrono::duration<double> timeout);
  ~DeviceRun();
  DeviceRun(const DeviceRun&) = delete;
  DeviceRun& operator=(const DeviceRun&) = delete;

  // Where it is: the first PE of those that work together.
  uint32_t card() const { return first_ / kPesPerCard; }
  uint32_t pe() const { return first_ % kPesPerCard; }
  // At which the device's clock is, of the full one: less where it is throttled.
  uint32_t clock_permille() const { return clock_permille_; }

  // To be said before the object goes; otherwise the run counts as a failure.
  void succeeded() { succeeded_ = true; }

 private:
  void leave(uint32_t pe, bool first);

  Host& host_;
  const RunCost& cost_;
  const uint64_t generation_;
  uint32_t first_, last_;
  uint32_t clock_permille_;
  bool succeeded_ = false;
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_DEVICE_H_
