// The cache of Programs by shape: one maker per shape, bounded, no failure kept, threads and forks.

#include "furiosa_ep/provider/native/program_cache.h"

#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace {

using furiosa::ProgramCache;
using Shapes = std::vector<int64_t>;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

// The cache of one test, which counts what it makes.
struct Counted {
  explicit Counted(size_t capacity) : cache(capacity) {}

  int64_t get(int64_t key, std::chrono::milliseconds time = {}) {
    return *cache.get(Shapes{1, key}, [&] {
      made.fetch_add(1);
      std::this_thread::sleep_for(time);
      if (key < 0) throw std::runtime_error("no such shape");
      return std::make_shared<const int64_t>(key);
    });
  }

  ProgramCache<int64_t> cache;
  std::atomic<int> made{0};
};

template <class Body>
void in_threads(int count, Body&& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([&body, i] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

void least_recently_used_goes_first() {
  Counted counted(2);
  for (int64_t key : {1, 2, 1, 3, 1, 2}) require(counted.get(key) == key, "the value of a shape");
  require(counted.made == 4, "1, 2, 3 and 2 again are made");
}

void concurrent_calls_make_once() {
  Counted counted(4);
  in_threads(8, [&](int) { counted.get(7, std::chrono::milliseconds(50)); });
  require(counted.made == 1, "one of eight threads makes the value");
}

void failures_reach_all_and_are_not_kept() {
  Counted counted(4);
  std::atomic<int> failed{0};
  in_threads(4, [&](int) {
    try {
      counted.get(-1, std::chrono::milliseconds(50));
    } catch (const std::runtime_error&) {
      failed.fetch_add(1);
    }
  });
  require(failed == 4, "every waiting thread gets the failure");
  const int before = counted.made;
  try {
    counted.get(-1);
  } catch (const std::runtime_error&) {
    failed.fetch_add(1);
  }
  require(failed == 5 && counted.made == before + 1, "a failure is tried again");
}

void gives_up_what_nobody_uses() {
  Counted counted(8);
  for (int64_t key : {1, 2, 3, 4, 2}) counted.get(key);
  const auto held = counted.cache.get(Shapes{1, 1}, [] { return nullptr; });
  const auto any = [](int64_t) { return true; };
  require(counted.cache.give_up([](int64_t value) { return value != 3; }), "4 is not held");
  require(counted.cache.give_up(any), "3 is older than 2");
  require(counted.get(2) == 2 && counted.made == 4, "2 was kept");
  require(counted.get(4) == 4 && counted.get(3) == 3 && counted.made == 6, "4 and 3 were not");
  for (int i = 0; i < 3; ++i) require(counted.cache.give_up(any), "three are left besides 1");
  require(!counted.cache.give_up(any), "1 is held");
  require(counted.get(1) == 1 && counted.made == 6, "1 was kept");
}

void what_is_made_is_not_given_up() {
  Counted counted(4);
  in_threads(4, [&](int thread) {
    for (int i = 0; i < 500; ++i) {
      const auto value = counted.cache.get(Shapes{1, thread},
                                           [&] { return std::make_shared<const int64_t>(thread); });
      counted.cache.give_up([](int64_t) { return true; });
      require(*value == thread, "a value that is held stays");
    }
  });
}

void many_threads_on_a_small_cache() {
  Counted counted(3);
  in_threads(8, [&](int thread) {
    for (int i = 0; i < 2000; ++i) {
      const int64_t key = (i * (thread + 1)) % 7;
      require(counted.get(key) == key, "the value of a shape");
    }
  });
}

void a_child_makes_what_its_parent_was_making() {
  Counted counted(4);
  std::thread maker([&] { counted.get(5, std::chrono::milliseconds(300)); });
  while (counted.made == 0) std::this_thread::yield();
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(counted.get(5) == 5 && counted.made == 2 ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  maker.join();
  require(status == 0, "the child makes its own value");
}

}  // namespace

int main() {
  least_recently_used_goes_first();
  concurrent_calls_make_once();
  failures_reach_all_and_are_not_kept();
  gives_up_what_nobody_uses();
  what_is_made_is_not_given_up();
  many_threads_on_a_small_cache();
  a_child_makes_what_its_parent_was_making();
  std::puts("ok");
}
