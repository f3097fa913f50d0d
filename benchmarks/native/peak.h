#ifndef FURIOSA_BENCHMARKS_NATIVE_PEAK_H_
#define FURIOSA_BENCHMARKS_NATIVE_PEAK_H_

namespace furiosa::benchmarks {

// Multiply-adds per nanosecond of one thread that does nothing but vpdpbusd on registers, now. Only
// to be called where the CPU has AVX-512 VNNI.
double vnni_peak();

}  // namespace furiosa::benchmarks

#endif  // FURIOSA_BENCHMARKS_NATIVE_PEAK_H_
