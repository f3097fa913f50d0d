#ifndef FURIOSA_EP_PROVIDER_NATIVE_THREAD_POOL_H_
#define FURIOSA_EP_PROVIDER_NATIVE_THREAD_POOL_H_

#include "furiosa_ep/provider/native/ort.h"
#include "kernels/native/parallel.h"

namespace furiosa {

// ONNX Runtime's own intra-op threads, for the time of one Compute. They honour the session's
// options and survive a fork, which threads of our own would not.
class SessionThreadPool final : public ThreadPool {
 public:
  // `concurrency`: the number of CPUs. ONNX Runtime does not tell how many threads a session has;
  // with fewer than that, each takes several tasks, which costs a tenth of a microsecond.
  SessionThreadPool(const Ort& ort, const ort::KernelContext* context, size_t concurrency)
      : ort_(ort), context_(context), concurrency_(concurrency) {}

  size_t concurrency() const override { return concurrency_; }

  void run(size_t count, void (*task)(void*, size_t), void* context) override {
    if (concurrency_ == 1) {
      for (size_t i = 0; i < count; ++i) task(context, i);
    } else {
      // No batches: threads take one task after the other.
      ort_.check(ort_.api[ort::kKernelContextParallelFor](context_, task, count, 0, context));
    }
  }

 private:
  const Ort& ort_;
  const ort::KernelContext* context_;
  size_t concurrency_;
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_THREAD_POOL_H_
