/* x -> y = 255 - x, done rightly once and then with one fault each. */
#include "furiosa_ep.h"

#define KERNEL(name)                               \
  int32_t name(const furiosa_kernel_frame* frame); \
  int32_t name(const furiosa_kernel_frame* frame)

static int64_t size(const furiosa_tensor* tensor) {
  int64_t count = 1;
  uint32_t d;
  for (d = 0; d < tensor->rank; ++d) count *= tensor->dims[d];
  return count;
}

static void invert(const furiosa_kernel_frame* frame, int64_t begin, int64_t end) {
  const uint8_t* x = frame->inputs[0].data;
  uint8_t* y = frame->outputs[0].data;
  for (; begin < end; ++begin) y[begin] = (uint8_t)(255 - x[begin]);
}

static int64_t all(const furiosa_kernel_frame* frame) { return size(&frame->inputs[0]); }

KERNEL(good) {
  invert(frame, 0, all(frame));
  return 0;
}

KERNEL(reads_behind) {
  const volatile uint8_t* x = frame->inputs[0].data;
  invert(frame, 0, all(frame));
  (void)x[all(frame)];
  return 0;
}

KERNEL(reads_before) {
  const volatile uint8_t* x = frame->inputs[0].data;
  invert(frame, 0, all(frame));
  (void)x[-1];
  return 0;
}

KERNEL(writes_behind) {
  invert(frame, 0, all(frame));
  ((uint8_t*)frame->outputs[0].data)[all(frame)] = 1;
  return 0;
}

KERNEL(writes_behind_workspace) {
  invert(frame, 0, all(frame));
  ((uint8_t*)frame->workspace)[frame->workspace_size] = 1;
  return 0;
}

KERNEL(reads_behind_attributes) {
  const volatile furiosa_attribute* attributes = frame->attributes;
  invert(frame, 0, all(frame));
  (void)attributes[frame->attribute_count].integer;
  return 0;
}

KERNEL(writes_behind_error) {
  frame->error[frame->error_size] = '\0';
  return 0;
}

KERNEL(rounds_wrongly) {
  uint8_t* y = frame->outputs[0].data;
  int64_t i, count = all(frame);
  invert(frame, 0, count);
  for (i = 0; i < count; ++i) {
    if (y[i] == 100) y[i] = 101;
  }
  return 0;
}

KERNEL(leaves_the_tail) {
  const int64_t count = all(frame);
  invert(frame, 0, count > 16 ? count / 16 * 16 : count);
  return 0;
}

KERNEL(writes_its_input) {
  uint8_t* x = frame->inputs[0].data;
  invert(frame, 0, all(frame));
  x[0] ^= 1;
  return 0;
}

KERNEL(writes_its_attribute) {
  invert(frame, 0, all(frame));
  ((furiosa_attribute*)frame->attributes)[0].integer = 1;
  return 0;
}

KERNEL(reads_its_workspace) {
  invert(frame, 0, all(frame));
  ((uint8_t*)frame->outputs[0].data)[0] ^= ((uint8_t*)frame->workspace)[0] & 1;
  return 0;
}

/* Puts its result together in memory that all calls share. */
KERNEL(keeps_state) {
  static volatile uint8_t shared[1 << 20];
  const uint8_t* x = frame->inputs[0].data;
  uint8_t* y = frame->outputs[0].data;
  int64_t i, count = all(frame);
  for (i = 0; i < count; ++i) shared[i] = (uint8_t)(255 - x[i]);
  for (i = 0; i < count; ++i) y[i] = shared[i];
  return 0;
}

KERNEL(fails) {
  if (all(frame) == 64) return furiosa_fail(frame, "not of 64 elements");
  return good(frame);
}

KERNEL(fails_silently) {
  (void)frame;
  return 7;
}

KERNEL(never_returns) {
  volatile int forever = 1;
  (void)frame;
  while (forever) continue;
  return 0;
}

static void invert_part(void* context, size_t index) {
  const furiosa_kernel_frame* frame = context;
  const int64_t count = all(frame), part = (count + 3) / 4, begin = part * (int64_t)index;
  invert(frame, begin, begin + part < count ? begin + part : count);
}

KERNEL(in_tasks) {
  frame->parallel_for(frame, 4, invert_part, (void*)frame);
  return 0;
}

/* For one axis with any strides: writes the element's neighbour, too. */
KERNEL(writes_between) {
  const furiosa_tensor *x = &frame->inputs[0], *y = &frame->outputs[0];
  int64_t i;
  for (i = 0; i < x->dims[0]; ++i) {
    uint8_t* to = (uint8_t*)y->data + i * y->strides[0];
    *to = (uint8_t)(255 - ((const uint8_t*)x->data)[i * x->strides[0]]);
    if (i > 0 && y->strides[0] != 1) to[1] = 0;
  }
  return 0;
}
