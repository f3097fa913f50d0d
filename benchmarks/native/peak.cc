#include "benchmarks/native/peak.h"

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#include <time.h>
#endif

namespace furiosa::benchmarks {

#if defined(__AVX512VNNI__)
namespace {

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

constexpr int kChains = 16;
constexpr int kRounds = 4000;

void multiply(int rounds) {
  __m512i sums[kChains];
  const __m512i ones = _mm512_set1_epi8(1);
#pragma GCC unroll 16
  for (int k = 0; k < kChains; ++k) sums[k] = ones;
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int k = 0; k < kChains; ++k) {
      asm volatile("vpdpbusd %1, %1, %0" : "+v"(sums[k]) : "v"(ones));
    }
  }
}

}  // namespace

bool vnni_available() { return __builtin_cpu_supports("avx512vnni"); }

void peak_work() { multiply(static_cast<int>(kPeakWork / 64 / kChains)); }

double vnni_peak() {
  double best = 0;
  for (int i = 0; i < 50; ++i) {
    const double start = now();
    multiply(kRounds);
    const double rate = 64.0 * kChains * kRounds / (now() - start);
    if (rate > best) best = rate;
  }
  return best;
}
#else
bool vnni_available() { return false; }
void peak_work() {}
double vnni_peak() { return 0; }
#endif

}  // namespace furiosa::benchmarks
