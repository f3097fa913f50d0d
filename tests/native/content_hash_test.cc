// Digests differ where contents do, and what is shared by them is gone when nothing uses it.

#include "device_emulator/native/content_hash.h"

#include <atomic>
#include <cstdio>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "furiosa_ep/provider/native/shared_by_content.h"

namespace {

using namespace furiosa;  // NOLINT: a test

Digest digest(const std::vector<std::string>& parts) {
  ContentHash hash;
  for (const std::string& part : parts) hash.add(part);
  return hash.digest();
}

bool check_digests() {
  std::vector<std::vector<std::string>> contents = {{},          {""},    {"", ""},    {"ab", "c"},
                                                    {"a", "bc"}, {"abc"}, {"abc", ""}, {"", "abc"}};
  for (size_t size = 1; size < 90; ++size) {
    contents.push_back({std::string(size, '\0')});
    const std::string filled(size, 'x');
    contents.push_back({filled});
    for (size_t at = 0; at < size; ++at) {
      std::string changed = filled;
      changed[at] = 'y';
      contents.push_back({changed});
    }
  }
  std::set<Digest> seen;
  for (const std::vector<std::string>& one : contents) {
    if (digest(one) != digest(one)) return std::puts("unequal digests of equal contents"), false;
    if (!seen.insert(digest(one)).second) return std::puts("equal digests"), false;
  }
  // The bytes count, not where they lie: unaligned, and at the end of their memory.
  const std::string text = "!0123456789012345678901234567890123456789";
  const std::string exact(text.begin() + 1, text.end());
  ContentHash moved, fresh;
  moved.add(std::string_view(text).substr(1));
  fresh.add(std::string_view(std::vector<char>(exact.begin(), exact.end()).data(), exact.size()));
  if (moved.digest() != fresh.digest()) return std::puts("the address counts"), false;
  return true;
}

bool check_sharing() {
  SharedByContent<std::string> shared;
  const Digest one = digest({"one"}), other = digest({"other"});
  auto first = shared.share(one, std::make_shared<const std::string>("first"));
  if (shared.share(one, std::make_shared<const std::string>("second")) != first ||
      shared.find(one) != first || shared.find(other) != nullptr) {
    return std::puts("not the one in use"), false;
  }
  if (shared.share(other, nullptr) != nullptr || shared.find(other) != nullptr) {
    return std::puts("nothing is shared"), false;
  }
  const std::weak_ptr<const std::string> watched = first;
  first.reset();
  if (!watched.expired() || shared.find(one) != nullptr) return std::puts("it stays alive"), false;
  const auto second = shared.share(one, std::make_shared<const std::string>("second"));
  return *second == "second" && shared.find(one) == second;
}

bool check_threads() {
  SharedByContent<int> shared;
  std::atomic<bool> good{true};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        const Digest key = digest({std::to_string(i % 7)});
        auto value = shared.find(key);
        if (value == nullptr) value = shared.share(key, std::make_shared<const int>(i % 7));
        const auto again = shared.share(key, std::make_shared<const int>(-t));
        if (*value != i % 7 || again != value) good = false;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return good.load() || (std::puts("threads do not share"), false);
}

}  // namespace

int main() {
  const bool good = check_digests() && check_sharing() && check_threads();
  if (good) std::puts("content hash: good");
  return good ? 0 : 1;
}
