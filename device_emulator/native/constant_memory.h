#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_CONSTANT_MEMORY_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_CONSTANT_MEMORY_H_

#include <cstddef>
#include <span>
#include <utility>

namespace furiosa {

// Memory for the constants of a Program: pages of its own, which are zero at first.
class ConstantMemory {
 public:
  ConstantMemory() = default;
  // Throws std::bad_alloc.
  explicit ConstantMemory(size_t size);
  ConstantMemory(ConstantMemory&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})), mapped_(std::exchange(other.mapped_, 0)) {}
  ConstantMemory& operator=(ConstantMemory&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    return *this;
  }
  ~ConstantMemory();

  std::span<std::byte> bytes() const { return bytes_; }

  static size_t page_size();
  // Gives `count` pages from page `first` on, all of them inside, back to the system. They are zero
  // afterwards.
  void release(size_t first, size_t count) const;

 private:
  std::span<std::byte> bytes_;
  size_t mapped_ = 0;
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_CONSTANT_MEMORY_H_
