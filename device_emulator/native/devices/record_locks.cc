#include "device_emulator/native/devices/record_locks.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "device_emulator/native/devices/device_error.h"

namespace furiosa {
namespace {

struct flock record(int64_t byte, RecordLocks::Mode mode) {
  struct flock lock{};
  lock.l_type = mode == RecordLocks::Mode::kNone     ? F_UNLCK
                : mode == RecordLocks::Mode::kShared ? F_RDLCK
                                                     : F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

[[noreturn]] void fail() {
  throw DeviceError(FURIOSA_INVALID, "cannot lock a file of the emulated host: " +
                                         std::generic_category().message(errno) +
                                         " (does its file system have POSIX record locks?)");
}

}  // namespace

bool RecordLocks::set(int64_t byte, Mode mode) const {
  struct flock lock = record(byte, mode);
  if (fcntl(descriptor_, F_SETLK, &lock) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  fail();
}

void RecordLocks::wait(int64_t byte, Mode mode) const {
  struct flock lock = record(byte, mode);
  while (fcntl(descriptor_, F_SETLKW, &lock) != 0) {
    // Linux takes processes whose threads wait for each other's locks for a deadlock.
    if (errno == EDEADLK) {
      usleep(1000);
    } else if (errno != EINTR) {
      fail();
    }
  }
}

pid_t RecordLocks::holder(int64_t byte, Mode mode) const {
  struct flock lock = record(byte, mode);
  if (fcntl(descriptor_, F_GETLK, &lock) != 0) fail();
  if (lock.l_type == F_UNLCK) return 0;
  return lock.l_pid > 0 ? lock.l_pid : kUnknown;
}

ScopedRecordLock::~ScopedRecordLock() {
  try {
    locks_.set(byte_, RecordLocks::Mode::kNone);
  } catch (const DeviceError&) {  // it locked before, so it unlocks
  }
}

}  // namespace furiosa
