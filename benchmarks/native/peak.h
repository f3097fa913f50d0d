#ifndef FURIOSA_BENCHMARKS_NATIVE_PEAK_H_
#define FURIOSA_BENCHMARKS_NATIVE_PEAK_H_

namespace furiosa::benchmarks {

// Multiply-adds of peak_work().
inline constexpr double kPeakWork = 64.0 * 16 * 500'000;

// Whether this CPU has AVX-512 VNNI, which the functions below need.
bool vnni_available();

// Does kPeakWork multiply-adds with nothing but vpdpbusd on registers.
void peak_work();

// Multiply-adds per nanosecond of one thread that does nothing but vpdpbusd on registers, now.
double vnni_peak();

}  // namespace furiosa::benchmarks

#endif  // FURIOSA_BENCHMARKS_NATIVE_PEAK_H_
