/* PeakNormalize, "x:u8 -> y:u8", "peak:f": x / max|x| * peak along the last dim. Gives the bits of
 * peak_normalize.py. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "furiosa_ep.h"

int32_t peak_normalize(const furiosa_kernel_frame* frame);

static uint8_t quantize(float value, const furiosa_tensor* tensor) {
  const float low = (float)-tensor->zero_point, high = (float)(255 - tensor->zero_point);
  const float scaled = value / tensor->scale;
  const float limited = !(scaled > low) ? low : scaled > high ? high : scaled;
  return (uint8_t)(lrintf(limited) + tensor->zero_point);
}

static void normalize_row(const uint8_t* from, uint8_t* to, int64_t size, const furiosa_tensor* x,
                          const furiosa_tensor* y, float peak) {
  int32_t largest = 0;
  for (int64_t i = 0; i < size; ++i) {
    const int32_t magnitude = abs(from[i] - x->zero_point);
    if (magnitude > largest) largest = magnitude;
  }
  const float divisor = (float)largest * x->scale;
  for (int64_t i = 0; i < size; ++i) {
    const float value = (float)(from[i] - x->zero_point) * x->scale;
    to[i] = quantize((divisor > 0 ? value / divisor : 0) * peak, y);
  }
}

int32_t peak_normalize(const furiosa_kernel_frame* frame) {
  const furiosa_tensor *x = &frame->inputs[0], *y = &frame->outputs[0];
  if (x->rank == 0 || x->rank != y->rank ||
      memcmp(x->dims, y->dims, x->rank * sizeof *x->dims) != 0) {
    return furiosa_fail(frame, "expected x and y of one shape, with at least one dim");
  }
  const int64_t size = x->dims[x->rank - 1];
  int64_t rows = 1;
  for (uint32_t d = 0; d + 1 < x->rank; ++d) rows *= x->dims[d];
  for (int64_t row = 0; row < rows; ++row) {
    normalize_row((const uint8_t*)x->data + row * size, (uint8_t*)y->data + row * size, size, x, y,
                  (float)frame->attributes[0].real);
  }
  return 0;
}
