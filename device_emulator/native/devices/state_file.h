#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_STATE_FILE_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_STATE_FILE_H_

#include <string>

#include "device_emulator/native/devices/record_locks.h"
#include "device_emulator/native/devices/state.h"

namespace furiosa {

// The files of an emulated host, opened and mapped; they stay so.
struct StateFile {
  // A changed layout gets other names, so that versions of the library do not meet in one file.
  static constexpr char kStateName[] = "state.v1";
  static constexpr char kLockName[] = "lock.v1";
  static_assert(kStateVersion == 1);

  std::string directory;  // "" for files of this process alone
  RecordLocks locks;
  State* state;
  uint64_t device, inode;  // of the lock file

  // Those in `directory`, which is made where it does not exist. Throws DeviceError where that is
  // impossible, or where the state file is none of this version.
  static StateFile open(const std::string& directory);
  // Those of this user: in /dev/shm, or where that cannot be, among temporary files; if all fails,
  // of this process alone.
  static StateFile open_default();
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_STATE_FILE_H_
