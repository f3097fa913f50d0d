#include "kernels/native/isa.h"

#include <cstdlib>
#include <string>

namespace furiosa {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avxvnni", "avx512vnni"};

// Every level includes those below it, but AVX-512 VNNI does not imply AVX-VNNI: that level is
// for CPUs without AVX-512, and it is accepted only where CPUID reports it.
bool has_avxvnni() {
#if defined(__x86_64__)
  unsigned eax = 7, ebx = 0, ecx = 1, edx = 0;
  __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return (eax & (1u << 4)) != 0;
#else
  return false;
#endif
}

Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!avx2) return Isa::kScalar;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
  if (avx512) return Isa::kAvx512Vnni;
  return has_avxvnni() ? Isa::kAvxVnni : Isa::kAvx2;
#else
  return Isa::kScalar;
#endif
}

struct Selection {
  Isa isa;
  std::string problem;
};

Selection select() {
  const Isa best = detected_isa();
  const char* wanted = std::getenv("FURIOSA_ISA");
  if (wanted == nullptr || *wanted == '\0') return {best, ""};
  for (int level = 0; level <= static_cast<int>(Isa::kAvx512Vnni); ++level) {
    if (std::string(wanted) != kNames[level]) continue;
    const Isa isa = static_cast<Isa>(level);
    const bool available = isa <= best && (isa != Isa::kAvxVnni || has_avxvnni());
    if (available) return {isa, ""};
    return {best, std::string("FURIOSA_ISA=") + wanted + ": this CPU has " + isa_name(best) +
                      " at best; using it"};
  }
  return {best, std::string("FURIOSA_ISA=") + wanted +
                    ": expected one of scalar, avx2, avxvnni, avx512vnni; using " + isa_name(best)};
}

const Selection& selection() {
  static const Selection result = select();
  return result;
}

}  // namespace

Isa detected_isa() {
  static const Isa isa = detect();
  return isa;
}

Isa active_isa() { return selection().isa; }

const char* isa_problem() {
  return selection().problem.empty() ? nullptr : selection().problem.c_str();
}

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

}  // namespace furiosa
