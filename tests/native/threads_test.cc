// One executable run by several threads at once, each with a pool of threads of its own: the
// results are those of a run on one thread. For the thread sanitizer build, too.

#include <atomic>
#include <cstdio>
#include <thread>

#include "device_emulator/native/executor.h"
#include "tests/native/samples.h"

namespace furiosa::test {
namespace {

// Starts its threads anew for every call.
class SpawningPool final : public ThreadPool {
 public:
  size_t concurrency() const override { return 3; }

  void run(size_t count, void (*task)(void*, size_t), void* context) override {
    std::atomic<size_t> next = 0;
    const auto work = [&] {
      for (size_t i = next++; i < count; i = next++) task(context, i);
    };
    std::vector<std::thread> threads;
    for (size_t i = 1; i < std::min(count, concurrency()); ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    calls += count > 1;
  }

  int calls = 0;  // that were spread over threads
};

bool check(const Executable& executable, const char* name, bool spreads) {
  constexpr uint32_t kThreads = 4;
  std::vector<std::vector<Bytes>> expected;
  for (uint32_t seed = 0; seed < kThreads; ++seed) {
    Buffers buffers(executable.program(), seed);
    InlinePool pool;
    executable.run(buffers.input_pointers, buffers.output_pointers, pool);
    expected.push_back(buffers.outputs);
  }
  std::atomic<int> wrong = 0;
  std::atomic<int> calls = 0;
  std::vector<std::thread> threads;
  for (uint32_t seed = 0; seed < kThreads; ++seed) {
    threads.emplace_back([&, seed] {
      for (int repeat = 0; repeat < 3; ++repeat) {
        Buffers buffers(executable.program(), seed);
        SpawningPool pool;
        executable.run(buffers.input_pointers, buffers.output_pointers, pool);
        wrong += buffers.outputs != expected[seed];
        calls += pool.calls;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (wrong > 0) std::fprintf(stderr, "%s: %d runs differ\n", name, wrong.load());
  if (spreads && calls == 0) std::fprintf(stderr, "%s: nothing ran on the pool\n", name);
  return wrong == 0 && (!spreads || calls > 0);
}

int run() {
  bool good = check(*Executable::load(parallel_sample()), "parallel", true);
  for (const Sample& sample : samples()) {
    good = check(*Executable::load(sample.program), sample.name.c_str(), false) && good;
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace furiosa::test

int main() { return furiosa::test::run(); }
