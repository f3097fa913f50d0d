#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_KERNEL_REGISTRY_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_KERNEL_REGISTRY_H_

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "device_emulator/native/program.h"
#include "furiosa_ep/include/furiosa_ep.h"
#include "kernels/native/isa.h"

namespace furiosa {

// A registered kernel: what furiosa_kernel says, checked and copied.
struct Kernel {
  explicit Kernel(const furiosa_kernel& kernel);
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  bool strided() const { return (flags & FURIOSA_KERNEL_STRIDED) != 0; }

  const std::string plugin, opcode, operands, attributes;
  const Isa isa;
  const uint32_t flags;
  const furiosa_kernel_function run;
  const OpcodeSchema schema;  // of `operands` and `attributes`
  mutable std::atomic<size_t> users = 0;
};

// The kernels of this process. Whoever holds a kernel that find() gave keeps it registered.
class KernelRegistry {
 public:
  // As furiosa_kernel_register; throws Error with the reason.
  void add(const furiosa_kernel& kernel);
  // As furiosa_kernel_unregister; throws Error with the reason.
  void remove(const furiosa_kernel& kernel);
  // The kernel of `opcode` for the best instruction set that this CPU has, up to active_isa().
  // Throws Error where there is none.
  std::shared_ptr<const Kernel> find(std::string_view opcode) const;

 private:
  using Variants = std::map<Isa, std::shared_ptr<const Kernel>>;

  mutable std::mutex mutex_;
  std::map<std::string, Variants, std::less<>> kernels_;
};

KernelRegistry& kernel_registry();

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_KERNEL_REGISTRY_H_
