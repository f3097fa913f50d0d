#ifndef FURIOSA_KERNELS_NATIVE_ISA_H_
#define FURIOSA_KERNELS_NATIVE_ISA_H_

#include <optional>
#include <string_view>

namespace furiosa {

// Instruction sets that kernels are written for, better ones later. Those of x86-64 include what is
// before them: where a set has no kernel of its own, that of an earlier one will do.
enum class Isa { kScalar = 0, kAvx2 = 1, kAvxVnni = 2, kAvx512Vnni = 3, kNeon = 4 };

// The best instruction set of this CPU.
Isa detected_isa();

// The instruction set in use: detected_isa(), or what FURIOSA_ISA names if this CPU has it
// (scalar, avx2, avxvnni, avx512vnni, neon). Read once, unless force_isa() says otherwise.
Isa active_isa();

// Makes the named instruction set the active one for what is prepared from now on; nullptr goes
// back to the default. False where the CPU lacks it or the name is unknown. For tests.
bool force_isa(const char* name);

// Why FURIOSA_ISA could not be honoured, or nullptr.
const char* isa_problem();

const char* isa_name(Isa isa);

// The instruction set of this name, whether this CPU has it or not.
std::optional<Isa> find_isa(std::string_view name);

// Whether this CPU and its operating system have the instruction set.
bool has_isa(Isa isa);

}  // namespace furiosa

#endif  // FURIOSA_KERNELS_NATIVE_ISA_H_
