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

double burst() {
  __m512i sums[kChains];
  const __m512i ones = _mm512_set1_epi8(1);
#pragma GCC unroll 16
  for (int k = 0; k < kChains; ++k) sums[k] = ones;
  constexpr int kRounds = 4000;
  const double start = now();
  for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 16
    for (int k = 0; k < kChains; ++k) {
      asm volatile("vpdpbusd %1, %1, %0" : "+v"(sums[k]) : "v"(ones));
    }
  }
  return 64.0 * kChains * kRounds / (now() - start);
}

}  // namespace

double vnni_peak() {
  double best = 0;
  for (int i = 0; i < 50; ++i) {
    const double rate = burst();
    if (rate > best) best = rate;
  }
  return best;
}
#else
double vnni_peak() { return 0; }
#endif

}  // namespace furiosa::benchmarks
