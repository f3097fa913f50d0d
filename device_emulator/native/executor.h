#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_EXECUTOR_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_EXECUTOR_H_

#include <memory>
#include <span>

#include "device_emulator/native/profiling/run.h"
#include "device_emulator/native/program.h"
#include "kernels/native/parallel.h"

namespace furiosa {

// A Program that is ready to run on this machine.
class Executable {
 public:
  // Validates `program`, copies what it needs of it and prepares its commands (packs weights for
  // active_isa()). Throws Error with the reason where it cannot.
  static std::shared_ptr<const Executable> load(std::span<const std::byte> program);
  // As above for a Program whose constants are apart from what comes before them.
  static std::shared_ptr<const Executable> load(std::span<const std::byte> head,
                                                ConstantMemory constants);

  ~Executable();

  // Runs all commands. The buffers are row-major with the dtypes and dims of program().inputs() and
  // outputs(), aligned to their element size, and must not overlap an output. Any number of threads
  // may run at the same time. Throws Error for a wrong number of buffers or a null one. Profiles
  // show the run as that of `origin`.
  void run(std::span<const void* const> inputs, std::span<void* const> outputs, ThreadPool& pool,
           const profiling::Origin& origin = {}) const;

  // Shows a run in profiles that could not begin: since `start`, of profiling::now().
  void record_failure(const profiling::Origin& origin, int64_t start, const char* error) const;

  // As run(), and notes what each command took: one element of `nanoseconds` for each.
  void profile(std::span<const void* const> inputs, std::span<void* const> outputs,
               ThreadPool& pool, std::span<int64_t> nanoseconds) const;

  // Its tensors, commands and bindings; of its constants only those that a run reads.
  const Program& program() const;

 private:
  class Impl;
  explicit Executable(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_EXECUTOR_H_
