#ifndef FURIOSA_EP_PROVIDER_NATIVE_ORT_H_
#define FURIOSA_EP_PROVIDER_NATIVE_ORT_H_

#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "furiosa_ep/provider/native/ort_abi.h"

namespace furiosa {

// An error on its way to ONNX Runtime, with the code that decides which exception it becomes.
class OrtError : public std::runtime_error {
 public:
  OrtError(ort::ErrorCode code, const std::string& message)
      : std::runtime_error(message), code_(code) {}
  ort::ErrorCode code() const { return code_; }

 private:
  ort::ErrorCode code_;
};

// One ONNX Runtime: its functions and the API version that was agreed with it. A process can hold
// two (a Python module and a C library), so this belongs to a factory and not to the process.
class Ort {
 public:
  Ort() = default;

  // The ONNX Runtime behind `base`; `problem` says what is wrong if there is one and the version
  // is not supported. A null `api` table means that not even an error can be created.
  static Ort connect(const ort::ApiBase* base, std::string& problem);

  ort::Api api;
  ort::EpApi ep_api;
  uint32_t version = 0;

  // Throws OrtError for a status that is no success, and releases it.
  void check(ort::Status* status) const {
    if (status != nullptr) [[unlikely]]
      fail(status);
  }

  // Whether a status is a success; releases it.
  bool succeeded(ort::Status* status) const noexcept {
    if (status != nullptr) api[ort::kReleaseStatus](status);
    return status == nullptr;
  }

  // Runs `body` and turns what it throws into a status.
  template <class Body>
  ort::Status* guard(Body&& body) const noexcept {
    try {
      std::forward<Body>(body)();
      return nullptr;
    } catch (...) {
      return current_exception_status();
    }
  }

  ort::Status* make_status(ort::ErrorCode code, const char* message) const noexcept {
    return api[ort::kCreateStatus](code, message);
  }

  // The strings, handles and lists that ONNX Runtime's getters write.
  template <class Result, class Object>
  Result get(ort::ApiSlot<ort::Status*(const Object*, Result*)> slot,
             std::type_identity_t<const Object*> object) const {
    Result result{};
    check(api[slot](object, &result));
    return result;
  }
  template <class Item, class Object>
  std::vector<const Item*> list(ort::ApiSlot<ort::Status*(const Object*, size_t*)> count,
                                ort::ApiSlot<ort::Status*(const Object*, const Item**, size_t)> all,
                                const Object* object) const {
    std::vector<const Item*> items(get(count, object));
    if (!items.empty()) check(api[all](object, items.data(), items.size()));
    return items;
  }

  // The elements of an attribute: int64_t, float, or characters, where strings end with NUL.
  template <class T>
  std::vector<T> read(const ort::OpAttr* attribute, ort::AttrType type) const {
    size_t bytes = 0;
    // Without a buffer this fails and says how many bytes it takes.
    succeeded(api[ort::kReadOpAttr](attribute, type, nullptr, 0, &bytes));
    std::vector<T> values((bytes + sizeof(T) - 1) / sizeof(T));
    if (bytes != 0) {
      check(
          api[ort::kReadOpAttr](attribute, type, values.data(), values.size() * sizeof(T), &bytes));
    }
    return values;
  }

  void log(const ort::Logger* logger, ort::Severity severity, const std::string& message) const;

 private:
  [[noreturn]] void fail(ort::Status* status) const;
  ort::Status* current_exception_status() const noexcept;
};

// Owned OrtKeyValuePairs.
class KeyValuePairs {
 public:
  explicit KeyValuePairs(const Ort& ort) : ort_(ort) {
    ort_.api[ort::kCreateKeyValuePairs](&pairs_);
  }
  KeyValuePairs(const Ort& ort, ort::KeyValuePairs* pairs) : ort_(ort), pairs_(pairs) {}
  ~KeyValuePairs() { ort_.api[ort::kReleaseKeyValuePairs](pairs_); }
  KeyValuePairs(const KeyValuePairs&) = delete;
  KeyValuePairs& operator=(const KeyValuePairs&) = delete;

  void add(const char* key, const char* value) {
    ort_.api[ort::kAddKeyValuePair](pairs_, key, value);
  }
  const ort::KeyValuePairs* get() const { return pairs_; }
  std::vector<std::pair<std::string_view, std::string_view>> entries() const;

 private:
  const Ort& ort_;
  ort::KeyValuePairs* pairs_ = nullptr;
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_ORT_H_
