#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_CLIENT_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_CLIENT_H_

#include <cstdint>
#include <string>

#include "device_emulator/native/devices/state.h"

namespace furiosa {

// A process as its slot names it.
struct Client {
  int64_t pid;
  uint64_t started;  // nanoseconds since 1970
  std::string command;
};

// Writes this process into a slot that it has just come to own.
void introduce(ClientSlot& slot);

Client read_client(const ClientSlot& slot);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_CLIENT_H_
