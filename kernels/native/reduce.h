#ifndef FURIOSA_KERNELS_NATIVE_REDUCE_H_
#define FURIOSA_KERNELS_NATIVE_REDUCE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace furiosa::kernels {

// How the elements of a row are brought together; the numbers are those of a Program.
enum class ReduceOrder : int64_t {
  kSequence = 0,  // one after the other
  kPackets = 1,   // as sum_packets() does, run by run
  kFours = 2,     // sum = (x0 + x1 + x2 + x3) + sum; then the two and the one that are left
  kLargest = 3,   // the largest, in no order
};

// Rows are reduced up to this many at a time.
inline constexpr size_t kReduceLanes = 16;

struct Reduction {
  ReduceOrder order;
  const float* values;               // the float for each byte
  std::span<const int64_t> offsets;  // from the start of a row to its elements, in order
  size_t run;                        // elements of a run of kPackets
  int64_t rows;                      // of the whole tensor
};

// results[i] is the sum (or maximum) of the row at x + lanes[i], i < count <= kReduceLanes, whose
// number among all rows is first + i. `scratch` holds kReduceLanes runs of floats.
void reduce(const Reduction& reduction, const uint8_t* x, const int64_t* lanes, size_t count,
            int64_t first, float* results, float* scratch);

// The sum of x[0..count) as Eigen's vectorised sum adds it: packets of four from element `start`
// on, the even and the odd ones apart; then what lies before them and what is left behind.
float sum_packets(const float* x, size_t count, size_t start);

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_REDUCE_H_
