#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_CHECKSUM_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace furiosa {

// XXH64 with seed 0 of `bytes`.
uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_CHECKSUM_H_
