#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_CONTENT_HASH_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_CONTENT_HASH_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace furiosa {

// Stands for contents within this process.
struct Digest {
  uint64_t first = 0, second = 0;
  auto operator<=>(const Digest&) const = default;
};

// Hashes a sequence of byte strings, so that equal digests can be taken for equal contents.
//
// A digest is the polynomial that has the contents as coefficients, 7 bytes each, at two points
// modulo 2^61 - 1. Different polynomials of degree n agree at no more than n points. The points are
// drawn at random when the process starts and are not known outside, so for any two contents,
// however chosen, the digests agree with probability (n / 2^61)^2 at most: 2^-78 for 25 MB.
class ContentHash {
 public:
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  template <class T>
  void add(std::span<const T> items) {
    add(std::as_bytes(items));
  }

  Digest digest() const { return {states_[0], states_[1]}; }

 private:
  uint64_t states_[2] = {1, 1};  // not 0, so that leading zeros count
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_CONTENT_HASH_H_
