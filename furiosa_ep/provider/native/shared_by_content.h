#ifndef FURIOSA_EP_PROVIDER_NATIVE_SHARED_BY_CONTENT_H_
#define FURIOSA_EP_PROVIDER_NATIVE_SHARED_BY_CONTENT_H_

#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "device_emulator/native/content_hash.h"

namespace furiosa {

// Values that are in use, by the digest of what they were made from. Thread-safe.
template <class Value>
class SharedByContent {
 public:
  using Pointer = std::shared_ptr<const Value>;

  // Those of all sessions of the process.
  static SharedByContent& instance() {
    static auto& only = *new SharedByContent();  // sessions may outlive static objects
    return only;
  }

  // The value for `digest`, null where none is in use.
  Pointer find(const Digest& digest) {
    const std::lock_guard lock(mutex_);
    const auto found = values_.find(digest);
    return found == values_.end() ? nullptr : found->second.lock();
  }

  // Offers `made` to others as long as it is in use. Returns the value to use: another thread's,
  // where that was first; null where `made` is.
  Pointer share(const Digest& digest, Pointer made) {
    if (made == nullptr) return made;
    const std::lock_guard lock(mutex_);
    std::erase_if(values_, [](const auto& entry) { return entry.second.expired(); });
    std::weak_ptr<const Value>& kept = values_[digest];
    if (Pointer first = kept.lock()) return first;
    kept = made;
    return made;
  }

 private:
  std::mutex mutex_;
  std::map<Digest, std::weak_ptr<const Value>> values_;
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_SHARED_BY_CONTENT_H_
