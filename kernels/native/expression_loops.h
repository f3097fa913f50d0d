// The float loops of an expression, for the compiler to vectorise: every file that includes this
// gets its own copy for its own instruction set, hence the unnamed namespace. The result may be an
// operand (hence ivdep).

#ifndef FURIOSA_KERNELS_NATIVE_EXPRESSION_LOOPS_H_
#define FURIOSA_KERNELS_NATIVE_EXPRESSION_LOOPS_H_

#include <cstddef>

namespace furiosa::kernels {
namespace {

void add_floats(const float* a, const float* b, float* y, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) y[i] = a[i] + b[i];
}

void subtract_floats(const float* a, const float* b, float* y, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) y[i] = a[i] - b[i];
}

void multiply_floats(const float* a, const float* b, float* y, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) y[i] = a[i] * b[i];
}

void divide_floats(const float* a, const float* b, float* y, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) y[i] = a[i] / b[i];
}

// Like a NaN, a zero is taken from `a` where both are zeros.
void min_floats(const float* a, const float* b, float* y, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) {
    const bool take_b = (b[i] < a[i]) | (b[i] != b[i]);
    y[i] = take_b ? b[i] : a[i];
  }
}

void max_floats(const float* a, const float* b, float* y, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) {
    const bool take_b = (b[i] > a[i]) | (b[i] != b[i]);
    y[i] = take_b ? b[i] : a[i];
  }
}

void negate_floats(const float* x, float* y, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) y[i] = -x[i];
}

void absolute_floats(const float* x, float* y, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) y[i] = __builtin_fabsf(x[i]);
}

void square_root_floats(const float* x, float* y, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) y[i] = __builtin_sqrtf(x[i]);
}

}  // namespace
}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_EXPRESSION_LOOPS_H_
