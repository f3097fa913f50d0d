#ifndef FURIOSA_KERNELS_NATIVE_PARALLEL_H_
#define FURIOSA_KERNELS_NATIVE_PARALLEL_H_

#include <algorithm>
#include <cstddef>
#include <type_traits>

namespace furiosa {

// Runs tasks on the threads of whoever calls the executor (ONNX Runtime's pool in a session).
class ThreadPool {
 public:
  virtual ~ThreadPool() = default;

  // How many tasks can run at the same time; at least 1.
  virtual size_t concurrency() const = 0;

  // Runs task(context, i) for every i in [0, count), in any order, and returns when all are done.
  // Tasks must not throw.
  virtual void run(size_t count, void (*task)(void*, size_t), void* context) = 0;

  template <class F>
  void parallel_for(size_t count, F&& f) {
    if (count == 1) {
      f(size_t{0});
      return;
    }
    run(
        count,
        [](void* context, size_t i) { (*static_cast<std::remove_reference_t<F>*>(context))(i); },
        const_cast<void*>(static_cast<const void*>(&f)));
  }
};

// Calls f(begin, end) for ranges that cover [0, count): one for each thread at most, each of
// `grain` items or more. Choose the grain so that it takes some 10 us: less does not pay.
template <class F>
void parallel_ranges(ThreadPool& pool, size_t count, size_t grain, F&& f) {
  if (count == 0) return;
  const size_t ranges = std::clamp<size_t>(count / std::max<size_t>(grain, 1), 1,
                                           std::max<size_t>(pool.concurrency(), 1));
  pool.parallel_for(ranges, [&](size_t i) { f(count * i / ranges, count * (i + 1) / ranges); });
}

// Runs everything on the calling thread.
class InlinePool final : public ThreadPool {
 public:
  size_t concurrency() const override { return 1; }
  void run(size_t count, void (*task)(void*, size_t), void* context) override {
    for (size_t i = 0; i < count; ++i) task(context, i);
  }
};

}  // namespace furiosa

#endif  // FURIOSA_KERNELS_NATIVE_PARALLEL_H_
