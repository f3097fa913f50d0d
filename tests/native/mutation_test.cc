// Programs with bytes changed: each is refused with a reason or runs without touching memory that
// is not its own, which the sanitizer builds watch.
//
//   mutation_test [mutations per sample] [seed]

#include <cstdio>
#include <cstdlib>
#include <random>

#include "device_emulator/native/executor.h"
#include "tests/native/samples.h"

namespace furiosa::test {
namespace {

// A Program that loads is run unless that would take long or much memory.
constexpr uint64_t kMostBytes = 1 << 24;
constexpr int64_t kMostElements = 1 << 18;

bool small_enough(const Program& program) {
  if (program.arena_size() > kMostBytes) return false;
  for (const auto* bindings : {&program.inputs(), &program.outputs()}) {
    for (const Binding& binding : *bindings) {
      if (binding.size > kMostBytes) return false;
    }
  }
  for (const Tensor& tensor : program.tensors()) {
    if (tensor.elements() > kMostElements) return false;
  }
  return true;
}

enum class Outcome { kRefused, kSkipped, kRan };

Outcome try_program(const Bytes& bytes) {
  try {
    const auto executable = Executable::load(bytes);
    if (!small_enough(executable->program())) return Outcome::kSkipped;
    Buffers buffers(executable->program(), 1);
    InlinePool pool;
    executable->run(buffers.input_pointers, buffers.output_pointers, pool);
    return Outcome::kRan;
  } catch (const Error& error) {
    if (error.what()[0] == '\0') {
      std::fprintf(stderr, "an error without a text\n");
      std::abort();
    }
    return Outcome::kRefused;
  }
}

// Values that are likely to be wrong somewhere.
uint64_t odd_value(std::minstd_rand& random) {
  static constexpr uint64_t kValues[] = {0,
                                         1,
                                         2,
                                         3,
                                         7,
                                         8,
                                         63,
                                         64,
                                         127,
                                         128,
                                         255,
                                         256,
                                         65535,
                                         1u << 20,
                                         0x7FFFFFFF,
                                         0x80000000,
                                         0xFFFFFFFF,
                                         1ull << 40,
                                         1ull << 62,
                                         0x7FFFFFFFFFFFFFFF,
                                         0x8000000000000000,
                                         ~0ull,
                                         ~0ull - 1,
                                         0x7FC00000,
                                         0x7F800000};
  return kValues[random() % std::size(kValues)];
}

Bytes mutate(const Bytes& original, std::minstd_rand& random) {
  Bytes bytes = original;
  if (random() % 32 == 0) bytes.resize(random() % bytes.size());
  const size_t changes = 1 + random() % 3;
  for (size_t i = 0; i < changes && !bytes.empty(); ++i) {
    // Mostly the records, which come first; seldom the constants.
    const size_t reach = random() % 8 == 0 ? bytes.size() : bytes.size() / 2 + 1;
    const size_t at = random() % reach;
    switch (random() % 4) {
      case 0:
        bytes[at] = static_cast<std::byte>(random());
        break;
      case 1:
        bytes[at] ^= static_cast<std::byte>(1u << (random() % 8));
        break;
      default: {
        const uint64_t value = odd_value(random);
        const size_t size = random() % 2 == 0 ? 4 : 8;
        const size_t start = at / size * size;
        if (start + size <= bytes.size()) std::memcpy(bytes.data() + start, &value, size);
      }
    }
  }
  seal(bytes);
  return bytes;
}

bool check_every_byte(const Sample& sample) {
  for (size_t i = 0; i < sample.program.size(); ++i) {
    Bytes bytes = sample.program;
    bytes[i] ^= std::byte{0x10};
    if (try_program(bytes) != Outcome::kRefused) {
      std::fprintf(stderr, "%s: accepted with byte %zu changed\n", sample.name.c_str(), i);
      return false;
    }
  }
  return true;
}

int run(int mutations, unsigned seed) {
  for (const Sample& sample : samples()) {
    if (try_program(sample.program) != Outcome::kRan) {
      try {
        Executable::load(sample.program);
      } catch (const Error& error) {
        std::fprintf(stderr, "%s: %s\n", sample.name.c_str(), error.what());
      }
      return 1;
    }
    if (!check_every_byte(sample)) return 1;
    int counts[3] = {};
    std::minstd_rand random(seed);
    for (int i = 0; i < mutations; ++i) {
      ++counts[static_cast<int>(try_program(mutate(sample.program, random)))];
    }
    std::printf("%s: %d refused, %d not run for their size, %d ran\n", sample.name.c_str(),
                counts[0], counts[1], counts[2]);
    if (mutations > 100 && (counts[0] == 0 || counts[2] == 0)) {
      std::fprintf(stderr, "the mutations no longer test anything\n");
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace furiosa::test

int main(int argc, char** argv) {
  const int mutations = argc > 1 ? std::atoi(argv[1]) : 4000;
  const auto seed = static_cast<unsigned>(argc > 2 ? std::atoi(argv[2]) : 1);
  return furiosa::test::run(mutations, seed);
}
