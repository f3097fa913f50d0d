#include "device_emulator/native/devices/state_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <vector>

#include "device_emulator/native/devices/device_error.h"

namespace furiosa {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return value_; }

 private:
  int value_;
};

constexpr char kElsewhere[] =
    "; set $FURIOSA_EMULATED_HOST to use another directory (docs/devices.md#where-the-state-is)";

[[noreturn]] void fail(const std::string& what, int error) {
  throw DeviceError(FURIOSA_INVALID,
                    "cannot " + what + ": " + std::generic_category().message(error) + kElsewhere);
}

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw DeviceError(FURIOSA_INVALID, path + " is no state of emulated devices: " + reason +
                                         "; delete it when no process uses emulated devices");
}

int open_file(int directory, const char* name, const std::string& path) {
  const int file = openat(directory, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) fail("open " + path + "/" + name, errno);
  return file;
}

struct stat look(int file, const std::string& path) {
  struct stat status{};
  if (fstat(file, &status) != 0) fail("look at " + path, errno);
  if (!S_ISREG(status.st_mode)) refuse(path, "it is no regular file");
  return status;
}

struct LockFile {
  int descriptor;
  dev_t device;
  ino_t inode;
};

// The lock file in a directory. To close any descriptor of it would free all locks that this
// process has, so that it is opened once and never closed, whatever becomes of the state file.
LockFile open_lock_file(int directory, const std::string& path) {
  static std::mutex mutex;
  static auto* const known = new std::vector<LockFile>;
  const std::lock_guard lock(mutex);
  struct stat status{};
  if (fstatat(directory, StateFile::kLockName, &status, AT_SYMLINK_NOFOLLOW) == 0) {
    for (const LockFile& one : *known) {
      if (one.device == status.st_dev && one.inode == status.st_ino) return one;
    }
  }
  known->reserve(known->size() + 1);
  const int file = open_file(directory, StateFile::kLockName, path);
  try {
    status = look(file, path + "/" + StateFile::kLockName);
  } catch (...) {
    close(file);
    throw;
  }
  return known->emplace_back(LockFile{file, status.st_dev, status.st_ino});
}

// Without room for all of it, a full file system would kill processes that write to it.
void reserve(int file, bool is_new, const std::string& path) {
  int error = 0;
  do {
    // posix_fallocate may write where the file system cannot reserve, so not while others do.
    if (is_new) {
      error = posix_fallocate(file, 0, sizeof(State));
    } else {
      error = fallocate(file, 0, 0, sizeof(State)) == 0 ? 0 : errno;
    }
  } while (error == EINTR);
  if (error != 0 && (is_new || error == ENOSPC)) fail("write " + path, error);
}

// Maps a state file, which it makes or completes where that has not been done. Throws DeviceError
// where it is none.
State* map(int file, const std::string& path, const RecordLocks& locks) {
  const ScopedRecordLock lock(locks, kInitLock);
  const auto size = static_cast<uint64_t>(look(file, path).st_size);
  if (size != 0 && size != sizeof(State)) {
    refuse(path,
           "it has " + std::to_string(size) + " bytes instead of " + std::to_string(sizeof(State)));
  }
  if (size == 0 && ftruncate(file, sizeof(State)) != 0) fail("write " + path, errno);
  void* memory = mmap(nullptr, sizeof(State), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) fail("map " + path, errno);
  auto* state = static_cast<State*>(memory);
  try {
    // Whoever began may have died before it wrote the magic.
    const bool is_new = state->magic == 0;
    reserve(file, is_new, path);
    if (is_new) {
      state->version = kStateVersion;
      state->size = sizeof(State);
      state->magic = kStateMagic;
    }
    if (state->magic != kStateMagic) refuse(path, "it does not begin with FURIOSAD");
    if (state->version != kStateVersion || state->size != sizeof(State)) {
      refuse(path, "it is of version " + std::to_string(state->version) + " instead of " +
                       std::to_string(kStateVersion));
    }
  } catch (...) {
    munmap(memory, sizeof(State));
    throw;
  }
  return state;
}

StateFile open_in(int directory, const std::string& path) {
  const LockFile lock = open_lock_file(directory, path);
  const Descriptor state(open_file(directory, StateFile::kStateName, path));
  const RecordLocks locks(lock.descriptor);
  State* mapped = map(state.get(), path + "/" + StateFile::kStateName, locks);
  return {path, locks, mapped, lock.device, lock.inode};
}

// As StateFile::open, in a directory that nobody else may enter.
StateFile open_private(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) fail("make " + path, errno);
  const Descriptor directory(::open(path.c_str(), O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status{};
  if (directory.get() < 0 || fstat(directory.get(), &status) != 0) fail("open " + path, errno);
  if (status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
    throw DeviceError(FURIOSA_INVALID,
                      "cannot trust " + path + ": others than its user may enter it" + kElsewhere);
  }
  return open_in(directory.get(), path);
}

StateFile open_anonymous() {
  const int lock = memfd_create("furiosa-ep-lock", MFD_CLOEXEC);
  const Descriptor state(memfd_create("furiosa-ep-state", MFD_CLOEXEC));
  if (lock < 0 || state.get() < 0) fail("make a file in memory", errno);
  const RecordLocks locks(lock);
  return {"", locks, map(state.get(), "a file in memory", locks), 0, 0};
}

}  // namespace

StateFile StateFile::open(const std::string& directory) {
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::path(directory).parent_path();
  std::filesystem::create_directories(parent, error);
  if (error) fail("make " + directory, error.value());
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) fail("make " + directory, errno);
  const Descriptor opened(::open(directory.c_str(), O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0) fail("open " + directory, errno);
  return open_in(opened.get(), directory);
}

StateFile StateFile::open_default() {
  const std::string name = "/furiosa-ep-" + std::to_string(geteuid());
  const char* temporary = std::getenv("TMPDIR");
  for (const std::string& parent :
       {std::string("/dev/shm"), std::string(temporary == nullptr ? "" : temporary),
        std::string("/tmp")}) {
    if (parent.empty()) continue;
    try {
      return open_private(parent + name);
    } catch (const DeviceError&) {
      // A state file that is broken is the user's to delete; other reasons speak for another place.
      if (access((parent + name + "/" + kStateName).c_str(), R_OK | W_OK) == 0) throw;
    }
  }
  return open_anonymous();
}

}  // namespace furiosa
