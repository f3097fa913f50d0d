#include "kernels/native/isa.h"

#include <atomic>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

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

// Whether this CPU has the instruction set.
bool available(Isa isa) { return isa <= detected_isa() && (isa != Isa::kAvxVnni || has_avxvnni()); }

std::optional<Isa> find(std::string_view name) {
  for (int level = 0; level <= static_cast<int>(Isa::kAvx512Vnni); ++level) {
    if (name == kNames[level]) return static_cast<Isa>(level);
  }
  return std::nullopt;
}

struct Selection {
  Isa isa;
  std::string problem;
};

Selection select() {
  const Isa best = detected_isa();
  const char* wanted = std::getenv("FURIOSA_ISA");
  if (wanted == nullptr || *wanted == '\0') return {best, ""};
  const std::optional<Isa> isa = find(wanted);
  if (isa && available(*isa)) return {*isa, ""};
  if (isa) {
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

// What force_isa() asked for, or -1.
std::atomic<int> forced = -1;

}  // namespace

Isa detected_isa() {
  static const Isa isa = detect();
  return isa;
}

Isa active_isa() {
  const int level = forced.load(std::memory_order_relaxed);
  return level < 0 ? selection().isa : static_cast<Isa>(level);
}

bool force_isa(const char* name) {
  const std::optional<Isa> isa = name == nullptr ? std::nullopt : find(name);
  if (name != nullptr && (!isa || !available(*isa))) return false;
  forced = isa ? static_cast<int>(*isa) : -1;
  return true;
}

const char* isa_problem() {
  return selection().problem.empty() ? nullptr : selection().problem.c_str();
}

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

}  // namespace furiosa
