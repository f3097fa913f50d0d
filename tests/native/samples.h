#ifndef FURIOSA_TESTS_NATIVE_SAMPLES_H_
#define FURIOSA_TESTS_NATIVE_SAMPLES_H_

#include <string>
#include <vector>

#include "tests/native/program_builder.h"

namespace furiosa::test {

struct Sample {
  std::string name;
  Bytes program;
};

// Valid Programs that have every opcode among them. Registers the kernel that they call.
std::vector<Sample> samples();

// The words of CALL: the workspace, scale 0.5 and zero point 3 for each operand and for the result,
// then the kernel's attributes.
std::vector<uint64_t> call_words(uint64_t workspace, size_t tensors,
                                 std::vector<uint64_t> attributes = {});

// One Program with enough work in its commands to be spread over threads.
Bytes parallel_sample();

// Buffers for the inputs and outputs of a Program; the inputs hold `seed`-dependent bytes.
struct Buffers {
  Buffers(const Program& program, uint32_t seed);

  std::vector<Bytes> inputs, outputs;
  std::vector<const void*> input_pointers;
  std::vector<void*> output_pointers;
};

}  // namespace furiosa::test

#endif  // FURIOSA_TESTS_NATIVE_SAMPLES_H_
