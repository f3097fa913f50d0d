#include "kernels/native/aligned.h"

namespace furiosa::kernels {

uint8_t* thread_scratch(size_t size) {
  thread_local AlignedBuffer<uint8_t> buffer;
  if (buffer.size() < size) buffer = AlignedBuffer<uint8_t>(size);
  return buffer.data();
}

}  // namespace furiosa::kernels
