#include "device_emulator/native/devices/configuration.h"

#include <cstdlib>
#include <mutex>

#include "device_emulator/native/devices/device_error.h"

namespace furiosa {
namespace {

constexpr uint64_t kDramBytes = uint64_t{16} << 30;

std::mutex& mutex() {
  static auto* const only = new std::mutex;
  return *only;
}

std::shared_ptr<const Configuration>& current() {
  static auto* const only = new std::shared_ptr<const Configuration>;
  return *only;
}

}  // namespace

std::shared_ptr<const Configuration> current_configuration() {
  const std::lock_guard lock(mutex());
  if (current() == nullptr) {
    const char* directory = std::getenv("FURIOSA_EMULATED_HOST");
    current() = std::make_shared<const Configuration>(
        Configuration{Host::at(directory == nullptr ? "" : directory), {Card{kDramBytes, {}}}});
  }
  return current();
}

void configure(const std::string& directory, std::vector<Card> cards) {
  if (cards.empty() || cards.size() > kMaxCards) {
    throw DeviceError(FURIOSA_INVALID, std::to_string(cards.size()) + " cards: expected 1 to " +
                                           std::to_string(kMaxCards));
  }
  Host& host = Host::at(directory);
  const std::lock_guard lock(mutex());
  current() = std::make_shared<const Configuration>(Configuration{host, std::move(cards)});
}

}  // namespace furiosa
