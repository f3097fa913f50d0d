#include "kernels/native/isa.h"

#include <atomic>
#include <cstdlib>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace furiosa {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avxvnni", "avx512vnni", "neon"};
constexpr Isa kLast = Isa::kNeon;

#if defined(__x86_64__)

bool has_avx_vnni() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1u << 4)) != 0;
}

// Whether this CPU and its operating system have the instruction set. AVX-512 VNNI does not imply
// AVX-VNNI.
bool available(Isa isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvxVnni:
      return avx2 && has_avx_vnni();
    case Isa::kAvx512Vnni:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
    case Isa::kNeon:
      return false;
  }
  return false;
}

#elif defined(__aarch64__) && defined(__linux__)

// The kernels for NEON need its dot products.
bool available(Isa isa) {
  return isa == Isa::kScalar || (isa == Isa::kNeon && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0);
}

#else

bool available(Isa isa) { return isa == Isa::kScalar; }

#endif

Isa detect() {
  int level = static_cast<int>(kLast);
  while (!available(static_cast<Isa>(level))) --level;
  return static_cast<Isa>(level);
}

struct Selection {
  Isa isa;
  std::string problem;
};

Selection select() {
  const Isa best = detected_isa();
  const char* wanted = std::getenv("FURIOSA_ISA");
  if (wanted == nullptr || *wanted == '\0') return {best, ""};
  const std::optional<Isa> isa = find_isa(wanted);
  if (isa && available(*isa)) return {*isa, ""};
  if (isa) {
    return {best, std::string("FURIOSA_ISA=") + wanted + ": this CPU has " + isa_name(best) +
                      " at best; using it"};
  }
  return {best, std::string("FURIOSA_ISA=") + wanted +
                    ": expected one of scalar, avx2, avxvnni, avx512vnni, neon; using " +
                    isa_name(best)};
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
  const std::optional<Isa> isa = name == nullptr ? std::nullopt : find_isa(name);
  if (name != nullptr && (!isa || !available(*isa))) return false;
  forced = isa ? static_cast<int>(*isa) : -1;
  return true;
}

const char* isa_problem() {
  return selection().problem.empty() ? nullptr : selection().problem.c_str();
}

std::optional<Isa> find_isa(std::string_view name) {
  for (int level = 0; level <= static_cast<int>(kLast); ++level) {
    if (name == kNames[level]) return static_cast<Isa>(level);
  }
  return std::nullopt;
}

bool has_isa(Isa isa) { return available(isa); }

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

}  // namespace furiosa
