#include "device_emulator/native/content_hash.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

namespace furiosa {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr int kBits = 61;
constexpr uint64_t kPrime = (uint64_t{1} << kBits) - 1;
constexpr size_t kWordBytes = 7;  // each word is below the prime
constexpr uint64_t kWordMask = (uint64_t{1} << 8 * kWordBytes) - 1;
constexpr size_t kBlockWords = 4;
constexpr size_t kBlockBytes = kBlockWords * kWordBytes;

uint64_t reduce(Wide value) {
  const Wide folded = (value & kPrime) + (value >> kBits);
  const auto once = static_cast<uint64_t>((folded & kPrime) + (folded >> kBits));
  return once >= kPrime ? once - kPrime : once;
}

// The powers 1 to kBlockWords of the point that a digest is evaluated at.
struct Point {
  explicit Point(std::random_device& random) {
    std::uniform_int_distribution<uint64_t> any(2, kPrime - 1);
    powers[0] = any(random);
    for (size_t i = 1; i < kBlockWords; ++i) powers[i] = reduce(Wide{powers[i - 1]} * powers[0]);
  }
  uint64_t powers[kBlockWords];
};

const Point& point(size_t which) {
  static const auto points = [] {
    std::random_device random;
    return std::pair(Point(random), Point(random));
  }();
  return which == 0 ? points.first : points.second;
}

uint64_t absorb(uint64_t state, uint64_t word, const Point& at) {
  return reduce(Wide{state} * at.powers[0] + word);
}

// Same as absorb() of the words of a block one after the other; these products do not wait for each
// other.
uint64_t absorb_block(uint64_t state, const uint64_t* words, const Point& at) {
  Wide sum = Wide{state} * at.powers[3] + Wide{words[0]} * at.powers[2];
  sum += Wide{words[1]} * at.powers[1];
  sum += Wide{words[2]} * at.powers[0];
  return reduce(sum + words[3]);
}

}  // namespace

void ContentHash::add(std::span<const std::byte> bytes) {
  const Point &first = point(0), &second = point(1);
  uint64_t a = absorb(states_[0], bytes.size() & kWordMask, first);
  uint64_t b = absorb(states_[1], bytes.size() & kWordMask, second);
  // A load of 8 bytes for a word of 7 reads one byte more.
  while (bytes.size() > kBlockBytes) {
    uint64_t words[kBlockWords];
    for (size_t i = 0; i < kBlockWords; ++i) {
      std::memcpy(&words[i], bytes.data() + i * kWordBytes, sizeof words[i]);
      words[i] &= kWordMask;
    }
    a = absorb_block(a, words, first);
    b = absorb_block(b, words, second);
    bytes = bytes.subspan(kBlockBytes);
  }
  while (!bytes.empty()) {
    const size_t size = std::min(kWordBytes, bytes.size());
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), size);
    a = absorb(a, word, first);
    b = absorb(b, word, second);
    bytes = bytes.subspan(size);
  }
  states_[0] = a;
  states_[1] = b;
}

}  // namespace furiosa
