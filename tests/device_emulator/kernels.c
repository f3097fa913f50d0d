/* Kernels as a plugin would write them, in plain C against nothing but furiosa_ep.h. */
#include <math.h>
#include <string.h>

#include "furiosa_ep.h"

int32_t weigh(const furiosa_kernel_frame* frame);
int32_t sum_rows(const furiosa_kernel_frame* frame);
int32_t fail(const furiosa_kernel_frame* frame);
int32_t meet(const furiosa_kernel_frame* frame);

/* TEST_WEIGH, "x:u8 gamma:f32? -> y:u8", "bias epsilon:f": x * gamma + bias + epsilon in real
 * numbers, with a gamma for each index of the last dim. Takes any strides. */
int32_t weigh(const furiosa_kernel_frame* frame) {
  const furiosa_tensor *x = &frame->inputs[0], *gamma = &frame->inputs[1], *y = &frame->outputs[0];
  const float bias = (float)frame->attributes[0].integer;
  const float epsilon = (float)frame->attributes[1].real;
  int64_t index[8] = {0}, from = 0, to = 0;
  uint32_t d;
  if (x->rank != y->rank || y->rank == 0 ||
      memcmp(x->dims, y->dims, y->rank * sizeof *y->dims) != 0) {
    return furiosa_fail(frame, "x and y are of different shapes");
  }
  if (gamma->data != NULL && (gamma->rank != 1 || gamma->dims[0] != y->dims[y->rank - 1])) {
    return furiosa_fail(frame, "gamma is not as long as the last dim");
  }
  for (;;) {
    const int32_t code = ((const uint8_t*)x->data)[from] - x->zero_point;
    float value = (float)code * x->scale;
    if (gamma->data != NULL) {
      value *= ((const float*)gamma->data)[index[y->rank - 1] * gamma->strides[0]];
    }
    value = rintf(((value + bias) + epsilon) / y->scale) + (float)y->zero_point;
    ((uint8_t*)y->data)[to] = !(value > 0) ? 0 : value > 255 ? 255 : (uint8_t)value;
    for (d = y->rank; d-- > 0;) {
      from += x->strides[d];
      to += y->strides[d];
      if (++index[d] < y->dims[d]) break;
      from -= index[d] * x->strides[d];
      to -= index[d] * y->strides[d];
      index[d] = 0;
      if (d == 0) return 0;
    }
  }
}

static void sum_row(void* context, size_t row) {
  const furiosa_kernel_frame* frame = context;
  const furiosa_tensor* x = &frame->inputs[0];
  const uint8_t* values = (const uint8_t*)x->data + (int64_t)row * x->dims[1];
  int32_t* sums = frame->workspace;
  int64_t i;
  sums[row] = 0;
  for (i = 0; i < x->dims[1]; ++i) sums[row] += values[i];
}

/* TEST_SUM_ROWS, "x:u8 -> y:i32", with a workspace of 4 bytes for each row: the rows' sums, and
 * behind them that of all. */
int32_t sum_rows(const furiosa_kernel_frame* frame) {
  const furiosa_tensor *x = &frame->inputs[0], *y = &frame->outputs[0];
  const int32_t* sums = frame->workspace;
  int32_t* result = y->data;
  int64_t row;
  if (x->rank != 2 || y->rank != 1 || y->dims[0] != x->dims[0] + 1) {
    return furiosa_fail(frame, "expected a matrix, and one more element than it has rows");
  }
  if (frame->workspace_size < (size_t)x->dims[0] * sizeof *sums) {
    return furiosa_fail(frame, "the workspace is too small");
  }
  frame->parallel_for(frame, (size_t)x->dims[0], sum_row, (void*)(uintptr_t)frame);
  result[x->dims[0]] = 0;
  for (row = 0; row < x->dims[0]; ++row) {
    result[row] = sums[row];
    result[x->dims[0]] += sums[row];
  }
  return 0;
}

/* TEST_FAIL, "x:u8 -> y:u8", "code": fails with this code; 1 comes with a text. */
int32_t fail(const furiosa_kernel_frame* frame) {
  const int32_t code = (int32_t)frame->attributes[0].integer;
  return code == 1 ? furiosa_fail(frame, "caf\xC3\xA9 \xFF") : code;
}

/* TEST_MEET, "x:u8 -> y:u8": returns when as many calls are under way as x[0] says. Has a state,
 * which a kernel should not have. */
int32_t meet(const furiosa_kernel_frame* frame) {
  static int32_t present;
  const int32_t wanted = ((const uint8_t*)frame->inputs[0].data)[0];
  long patience = 2000000000;
  __atomic_add_fetch(&present, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&present, __ATOMIC_SEQ_CST) < wanted) {
    if (--patience == 0) return furiosa_fail(frame, "the others did not come");
  }
  ((uint8_t*)frame->outputs[0].data)[0] = (uint8_t)wanted;
  return 0;
}
