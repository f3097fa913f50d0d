// Weak definitions of opcodes that have no file yet.
#include "device_emulator/native/command.h"

namespace furiosa {

#define FURIOSA_OPCODE(number, NAME, operands, attributes)              \
  template <>                                                           \
  __attribute__((weak)) std::unique_ptr<Command> prepare<Opcode::NAME>( \
      const Program& program, const CommandRecord& record) {            \
    CommandReader(program, record).fail("not built");                   \
  }
#include "furiosa_ep/include/furiosa_opcodes.def"
#undef FURIOSA_OPCODE

}  // namespace furiosa
