#include "kernels/native/reduce.h"

#include <algorithm>
#include <array>

namespace furiosa::kernels {
namespace {

using Lanes = std::array<float, kReduceLanes>;

// Element `element` of every row. Lanes beyond `count` repeat the first row.
class Reader {
 public:
  Reader(const Reduction& reduction, const uint8_t* x, const int64_t* lanes, size_t count)
      : reduction_(reduction), x_(x) {
    for (size_t i = 0; i < kReduceLanes; ++i) {
      lanes_[i] = lanes[i < count ? i : 0];
      adjacent_ = adjacent_ && lanes_[i] == lanes_[0] + static_cast<int64_t>(i);
    }
  }

  Lanes operator[](size_t element) const {
    const uint8_t* x = x_ + reduction_.offsets[element];
    Lanes values;
    if (adjacent_) {
      x += lanes_[0];
      for (size_t i = 0; i < kReduceLanes; ++i) values[i] = reduction_.values[x[i]];
    } else {
      for (size_t i = 0; i < kReduceLanes; ++i) values[i] = reduction_.values[x[lanes_[i]]];
    }
    return values;
  }

  // Element `element` of `count` rows, to values[i * pitch] of row i.
  void read(size_t element, size_t count, float* values, size_t pitch) const {
    const uint8_t* x = x_ + reduction_.offsets[element];
    if (adjacent_ && count == kReduceLanes) {
      x += lanes_[0];
      for (size_t i = 0; i < kReduceLanes; ++i) values[i * pitch] = reduction_.values[x[i]];
    } else {
      for (size_t i = 0; i < count; ++i) values[i * pitch] = reduction_.values[x[lanes_[i]]];
    }
  }

 private:
  const Reduction& reduction_;
  const uint8_t* x_;
  std::array<int64_t, kReduceLanes> lanes_{};
  bool adjacent_ = true;
};

void operator+=(Lanes& sum, const Lanes& values) {
  for (size_t i = 0; i < kReduceLanes; ++i) sum[i] += values[i];
}

Lanes in_sequence(const Reader& x, size_t length) {
  Lanes sum = x[0];
  for (size_t i = 1; i < length; ++i) sum += x[i];
  return sum;
}

Lanes in_fours(const Reader& x, size_t length) {
  Lanes sum{};
  for (size_t i = 0; i < length;) {
    const size_t size = length - i >= 4 ? 4 : length - i >= 2 ? 2 : 1;
    Lanes part = x[i];
    for (size_t k = 1; k < size; ++k) part += x[i + k];
    sum += part;
    i += size;
  }
  return sum;
}

Lanes largest(const Reader& x, size_t length) {
  Lanes most = x[0];
  for (size_t i = 1; i < length; ++i) {
    const Lanes values = x[i];
    for (size_t k = 0; k < kReduceLanes; ++k) most[k] = std::max(most[k], values[k]);
  }
  return most;
}

// The rows' runs one by one: [kReduceLanes][run] floats of scratch, read side by side.
void in_packets(const Reduction& reduction, const Reader& reader, size_t count, int64_t first,
                float* results, float* scratch) {
  const size_t run = reduction.run;
  for (size_t i = 0; i < reduction.offsets.size(); i += run) {
    for (size_t k = 0; k < run; ++k) reader.read(i + k, count, scratch + k, run);
    const uint64_t row = i / run * static_cast<uint64_t>(reduction.rows);
    for (size_t lane = 0; lane < count; ++lane) {
      const uint64_t before = row + static_cast<uint64_t>(first) + lane;  // runs in memory
      const float sum = sum_packets(scratch + lane * run, run, (0 - before * run) % 4);
      results[lane] = i == 0 ? sum : results[lane] + sum;
    }
  }
}

}  // namespace

float sum_packets(const float* x, size_t count, size_t start) {
  constexpr size_t kPacket = 4;
  start = std::min(start, count);
  const size_t packets = (count - start) / kPacket;
  float sum;
  size_t before = 0, behind;  // what is left: [before, start) and [behind, count)
  if (packets > 0) {
    std::array<float, 2 * kPacket> sums{};  // of the even and of the odd packets
    const float* packet = x + start;
    std::copy_n(packet, std::min<size_t>(packets, 2) * kPacket, sums.begin());
    for (size_t i = 2; i + 1 < packets; i += 2) {
      for (size_t k = 0; k < 2 * kPacket; ++k) sums[k] += packet[i * kPacket + k];
    }
    for (size_t k = 0; k < kPacket && packets > 1; ++k) sums[k] += sums[kPacket + k];
    if (packets > 1 && packets % 2 == 1) {
      for (size_t k = 0; k < kPacket; ++k) sums[k] += packet[(packets - 1) * kPacket + k];
    }
    sum = (sums[0] + sums[2]) + (sums[1] + sums[3]);
    behind = start + packets * kPacket;
  } else {
    sum = x[0];
    before = 1;
    start = behind = std::max<size_t>(1, start);
  }
  for (size_t i = before; i < start; ++i) sum += x[i];
  for (size_t i = behind; i < count; ++i) sum += x[i];
  return sum;
}

void reduce(const Reduction& reduction, const uint8_t* x, const int64_t* lanes, size_t count,
            int64_t first, float* results, float* scratch) {
  const Reader reader(reduction, x, lanes, count);
  if (reduction.order == ReduceOrder::kPackets) {
    in_packets(reduction, reader, count, first, results, scratch);
    return;
  }
  const size_t length = reduction.offsets.size();
  const Lanes all = reduction.order == ReduceOrder::kFours     ? in_fours(reader, length)
                    : reduction.order == ReduceOrder::kLargest ? largest(reader, length)
                                                               : in_sequence(reader, length);
  std::copy_n(all.begin(), count, results);
}

}  // namespace furiosa::kernels
