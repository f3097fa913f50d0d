// The peak of vpdpbusd as an engine of the race: a shared library that Python loads.

#include <cstdint>
#include <thread>
#include <vector>

#include "benchmarks/native/peak.h"

#define FURIOSA_BENCHMARK_API __attribute__((visibility("default")))

extern "C" {

// Multiply-adds that each thread does in furiosa_peak_run; 0 where the CPU has no such instruction.
FURIOSA_BENCHMARK_API uint64_t furiosa_peak_work() {
  if (!furiosa::benchmarks::vnni_available()) return 0;
  return static_cast<uint64_t>(furiosa::benchmarks::kPeakWork);
}

// Keeps `threads` threads busy with nothing but vpdpbusd on registers.
FURIOSA_BENCHMARK_API void furiosa_peak_run(int threads) {
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(furiosa::benchmarks::peak_work);
  furiosa::benchmarks::peak_work();
  for (std::thread& other : others) other.join();
}
}
