#ifndef FURIOSA_KERNELS_NATIVE_ALIGNED_H_
#define FURIOSA_KERNELS_NATIVE_ALIGNED_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace furiosa::kernels {

// An array of a trivial type on a 64-byte boundary, zero at first.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size)
      : data_(static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t{64}))),
        size_(size) {
    std::uninitialized_value_construct_n(data_.get(), size);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* data) const { ::operator delete(data, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

// At least `size` bytes on a 64-byte boundary that stay this thread's until it asks again; their
// contents are unspecified.
uint8_t* thread_scratch(size_t size);

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_ALIGNED_H_
