#ifndef FURIOSA_EP_PROVIDER_NATIVE_SMALL_BUFFER_H_
#define FURIOSA_EP_PROVIDER_NATIVE_SMALL_BUFFER_H_

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace furiosa {

// An array whose size is known at run time, on the stack up to N items.
template <class T, size_t N>
class SmallBuffer {
 public:
  explicit SmallBuffer(size_t size) : size_(size) {
    if (size > N) heap_.resize(size);
  }
  SmallBuffer(const SmallBuffer&) = delete;
  SmallBuffer& operator=(const SmallBuffer&) = delete;

  T& operator[](size_t i) { return data()[i]; }
  T* data() { return size_ > N ? heap_.data() : stack_.data(); }
  std::span<T> span() { return {data(), size_}; }

 private:
  size_t size_;
  std::array<T, N> stack_;
  std::vector<T> heap_;
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_SMALL_BUFFER_H_
