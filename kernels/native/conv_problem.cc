#include "kernels/native/conv_problem.h"

#include <cmath>
#include <cstdlib>

namespace furiosa::kernels {
namespace {

constexpr double kLimit = 2147483648.0;

// The largest magnitude that the accumulator of a channel can have, before it wraps around.
double largest_sum(const ConvProblem& problem, int64_t channel) {
  const int64_t size = problem.window.taps() * (problem.x.channels / problem.group);
  int64_t weights = 0;
  for (int64_t i = channel * size; i < (channel + 1) * size; ++i) {
    weights += std::abs(problem.weights != nullptr ? int{problem.weights[i]}
                                                   : int{problem.wide_weights[i]});
  }
  return std::fabs(static_cast<double>(problem.bias[channel])) +
         2 * 255.0 * static_cast<double>(weights);
}

}  // namespace

bool is_bounded(const ConvProblem& problem) {
  const Epilogue& epilogue = problem.epilogue;
  if (epilogue.add_residual) {
    const double scales = std::fabs(static_cast<double>(epilogue.residual_scale)) +
                          std::fabs(static_cast<double>(epilogue.conv_scale));
    const double sum = 255 * scales + std::fabs(static_cast<double>(epilogue.residual_offset));
    if (!(sum < kLimit)) return false;  // nor is a NaN
  }
  for (int64_t channel = 0; channel < problem.y.channels; ++channel) {
    const double scale = std::fabs(static_cast<double>(problem.multiplier[channel]));
    if (scale < 1) continue;  // a sum fits an int32
    const double sum = largest_sum(problem, channel);
    if (!(sum < kLimit && sum * scale < kLimit)) return false;
  }
  return true;
}

}  // namespace furiosa::kernels
