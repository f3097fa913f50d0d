#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_CONSTANT_PAGES_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_CONSTANT_PAGES_H_

#include <cstdint>
#include <vector>

#include "device_emulator/native/command.h"
#include "device_emulator/native/program.h"

namespace furiosa {

// Gives constants back to the system while commands are prepared, as soon as nothing reads them any
// more: so the constants and what they are packed into never take their full size together.
class ConstantPages {
 public:
  explicit ConstantPages(const Program& program);

  // Command number `index` is prepared as `command`; the ones before it were announced before.
  void prepared(size_t index, const Command& command);

 private:
  struct Pages {
    size_t first, end;
  };

  // The pages that an operand lies on where it is a constant, otherwise none.
  Pages pages_of(uint32_t operand) const;

  static constexpr uint32_t kAtRun = UINT32_MAX;

  const Program& program_;
  std::vector<uint32_t> last_;  // by page: the last command whose preparation reads it, or kAtRun
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_CONSTANT_PAGES_H_
