#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_RECORD_LOCKS_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_RECORD_LOCKS_H_

#include <sys/types.h>

#include <cstdint>

namespace furiosa {

// Locks on single bytes of a file, held by a process: its end, whatever it is, frees them, and
// children that it forks do not have them. The file is never closed, as that would free them all.
class RecordLocks {
 public:
  enum class Mode { kNone, kShared, kExclusive };
  static constexpr pid_t kUnknown = -1;

  // Takes the descriptor over.
  explicit RecordLocks(int descriptor) : descriptor_(descriptor) {}

  // Makes this process hold a byte in `mode`, or leaves all as it is and returns false where
  // another one holds it. Throws DeviceError where the system cannot lock.
  bool set(int64_t byte, Mode mode) const;
  // As set(), but waits for the other process.
  void wait(int64_t byte, Mode mode) const;
  // Another process that would keep this one from `mode`, or 0. kUnknown for one that has no id
  // here, because it is in another container.
  pid_t holder(int64_t byte, Mode mode = Mode::kExclusive) const;

 private:
  int descriptor_;
};

// Holds a byte exclusively for a moment. Within a process a mutex must do the same.
class ScopedRecordLock {
 public:
  ScopedRecordLock(const RecordLocks& locks, int64_t byte) : locks_(locks), byte_(byte) {
    locks_.wait(byte_, RecordLocks::Mode::kExclusive);
  }
  ~ScopedRecordLock();
  ScopedRecordLock(const ScopedRecordLock&) = delete;
  ScopedRecordLock& operator=(const ScopedRecordLock&) = delete;

 private:
  const RecordLocks& locks_;
  const int64_t byte_;
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_RECORD_LOCKS_H_
