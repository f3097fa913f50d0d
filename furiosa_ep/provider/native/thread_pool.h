#ifndef FURIOSA_EP_PROVIDER_NATIVE_THREAD_POOL_H_
#define FURIOSA_EP_PROVIDER_NATIVE_THREAD_POOL_H_

#include <atomic>

#include "furiosa_ep/provider/native/ort.h"
#include "kernels/native/parallel.h"

namespace furiosa {

// Finds out how many threads a session computes with, which ONNX Runtime does not tell: whether
// it has more than one shows in the first runs, and how many of them help is the number of CPUs.
class SessionThreads {
 public:
  // How many tasks to split work into; at least 1. Takes a millisecond in each of the first runs
  // until a second thread shows up, or three runs have passed without.
  size_t concurrency(const Ort& ort, const ort::KernelContext* context) {
    const size_t known = known_.load(std::memory_order_relaxed);
    return known != 0 ? known : probe(ort, context);
  }

 private:
  size_t probe(const Ort& ort, const ort::KernelContext* context);

  std::atomic<size_t> known_{0};
  std::atomic<int> lonely_probes_{0};
};

// ONNX Runtime's own intra-op threads, for the time of one Compute. They honour the session's
// options and survive a fork, which threads of our own would not.
class SessionThreadPool final : public ThreadPool {
 public:
  SessionThreadPool(const Ort& ort, const ort::KernelContext* context, size_t concurrency)
      : ort_(ort), context_(context), concurrency_(concurrency) {}

  size_t concurrency() const override { return concurrency_; }
  void run(size_t count, void (*task)(void*, size_t), void* context) override;

 private:
  const Ort& ort_;
  const ort::KernelContext* context_;
  size_t concurrency_;
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_THREAD_POOL_H_
