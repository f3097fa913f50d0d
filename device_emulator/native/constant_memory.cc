#include "device_emulator/native/constant_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace furiosa {

ConstantMemory::ConstantMemory(size_t size) {
  if (size == 0) return;
  const size_t whole = (size + page_size() - 1) / page_size() * page_size();
  if (whole < size) throw std::bad_alloc();
  void* memory =
      mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, /*fd=*/-1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  bytes_ = {static_cast<std::byte*>(memory), size};
  mapped_ = whole;
}

ConstantMemory::~ConstantMemory() {
  if (mapped_ != 0) munmap(bytes_.data(), mapped_);
}

size_t ConstantMemory::page_size() {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

void ConstantMemory::release(size_t first, size_t count) const {
  madvise(bytes_.data() + first * page_size(), count * page_size(), MADV_DONTNEED);
}

}  // namespace furiosa
