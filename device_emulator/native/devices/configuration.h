#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_CONFIGURATION_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_CONFIGURATION_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device_emulator/native/devices/host.h"

namespace furiosa {

// A card as this process sees it.
struct Card {
  uint64_t dram_bytes;
  std::vector<std::pair<std::string, std::string>> metadata;
};

// The cards of the emulated host.
struct Configuration {
  Host& host;
  std::vector<Card> cards;
};

// What configure() has set, otherwise one card on the host that $FURIOSA_EMULATED_HOST names.
std::shared_ptr<const Configuration> current_configuration();

// From now on `cards` are there, on the host in `directory` ("": the default one). What is open
// stays as it is. Throws DeviceError.
void configure(const std::string& directory, std::vector<Card> cards);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_CONFIGURATION_H_
