#ifndef FURIOSA_EP_PROVIDER_NATIVE_PROGRAM_CACHE_H_
#define FURIOSA_EP_PROVIDER_NATIVE_PROGRAM_CACHE_H_

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace furiosa {

// Values by input shapes, the most recently used `capacity` of them. Thread-safe: whoever asks
// for shapes that another thread is making waits for that one. Failures are not kept.
template <class Value>
class ProgramCache {
 public:
  using Pointer = std::shared_ptr<const Value>;

  explicit ProgramCache(size_t capacity) : capacity_(std::max<size_t>(capacity, 1)) {}

  // The value for `shapes`, from `make()` if there is none; throws what that throws.
  template <class Make>
  Pointer get(std::span<const int64_t> shapes, Make&& make) {
    std::optional<std::promise<Pointer>> promise;  // if this call is to make the value
    std::shared_future<Pointer> future;
    {
      const std::lock_guard lock(mutex_);
      const auto found = std::ranges::find_if(
          entries_, [&](const Entry& entry) { return std::ranges::equal(entry.shapes, shapes); });
      if (found != entries_.end() && !found->orphaned()) {
        entries_.splice(entries_.begin(), entries_, found);
        if (found->value != nullptr) return found->value;
        future = found->future;
      } else {
        if (found != entries_.end()) entries_.erase(found);
        future = promise.emplace().get_future().share();
        entries_.push_front({{shapes.begin(), shapes.end()}, nullptr, future, getpid()});
        if (entries_.size() > capacity_) entries_.pop_back();
      }
    }
    if (promise.has_value()) fill(shapes, *promise, make);
    return future.get();
  }

  // Forgets the least recently used value that `wanted` accepts and nobody else holds; false where
  // there is none.
  template <class Wanted>
  bool give_up(Wanted&& wanted) {
    Pointer last;  // goes when the lock is free again
    const std::lock_guard lock(mutex_);
    for (auto entry = entries_.end(); entry != entries_.begin();) {
      --entry;
      // Others get it under the lock alone, so that who is alone with it stays so.
      if (entry->value.use_count() != 1 || !wanted(*entry->value)) continue;
      last = std::move(entry->value);
      entries_.erase(entry);
      return true;
    }
    return false;
  }

 private:
  struct Entry {
    std::vector<int64_t> shapes;
    Pointer value;  // null while it is made
    std::shared_future<Pointer> future;
    pid_t maker;

    // Whether its maker stayed behind in the parent process of a fork.
    bool orphaned() const { return value == nullptr && maker != getpid(); }
  };

  template <class Make>
  void fill(std::span<const int64_t> shapes, std::promise<Pointer>& promise, Make& make) {
    try {
      Pointer value = make();
      settle(shapes, value);
      promise.set_value(std::move(value));
    } catch (...) {
      settle(shapes, nullptr);
      promise.set_exception(std::current_exception());
    }
  }

  // Completes the entry for `shapes`, or removes it where there is no value.
  void settle(std::span<const int64_t> shapes, const Pointer& value) {
    const std::lock_guard lock(mutex_);
    const auto entry = std::ranges::find_if(
        entries_, [&](const Entry& one) { return std::ranges::equal(one.shapes, shapes); });
    if (entry == entries_.end()) return;  // evicted in the meantime
    if (value == nullptr) {
      entries_.erase(entry);
    } else {
      entry->value = value;
      entry->future = {};  // which holds the value, too
    }
  }

  const size_t capacity_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_PROGRAM_CACHE_H_
