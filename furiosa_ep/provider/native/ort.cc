#include "furiosa_ep/provider/native/ort.h"

#include <algorithm>
#include <charconv>
#include <new>

#include "device_emulator/native/devices/device_error.h"

namespace furiosa {
namespace {

// The MINOR of "1.MINOR.PATCH", which is also the API version; 0 where it cannot be read.
uint32_t minor_version(std::string_view version) {
  constexpr std::string_view kMajor = "1.";
  if (!version.starts_with(kMajor)) return 0;
  uint32_t minor = 0;
  const char* end = version.data() + version.size();
  const auto parsed = std::from_chars(version.data() + kMajor.size(), end, minor);
  return parsed.ec == std::errc() ? minor : 0;
}

}  // namespace

Ort Ort::connect(const ort::ApiBase* base, std::string& problem) {
  Ort ort;
  const std::string found = base->GetVersionString();
  // Asking for more than there is prints to stderr, so the version string decides.
  const uint32_t minor = minor_version(found);
  ort.version = std::min(minor, ort::kNewestApi);
  const void* api = ort.version == 0 ? nullptr : base->GetApi(ort.version);
  if (minor < ort::kOldestApi || api == nullptr) {
    problem = "FuriosaProvider needs onnxruntime 1." + std::to_string(ort::kOldestApi) +
              " or later, this is " + found + ": pip install 'onnxruntime>=1." +
              std::to_string(ort::kOldestApi) + "'";
  }
  ort.api = ort::Api(api);
  if (api == nullptr) ort.version = 0;
  if (problem.empty()) ort.ep_api = ort::EpApi(ort.api[ort::kGetEpApi]());
  return ort;
}

void Ort::fail(ort::Status* status) const {
  const std::string message = api[ort::kGetErrorMessage](status);
  api[ort::kReleaseStatus](status);
  throw OrtError(ort::ErrorCode::kFail, message);
}

ort::Status* Ort::current_exception_status() const noexcept {
  try {
    throw;
  } catch (const OrtError& error) {
    return make_status(error.code(), error.what());
  } catch (const DeviceError& error) {
    return make_status(ort::ErrorCode::kFail, error.what());
  } catch (const Error& error) {
    return make_status(ort::ErrorCode::kInvalidArgument, error.what());
  } catch (const std::bad_alloc&) {
    return make_status(ort::ErrorCode::kFail, "FuriosaProvider: out of memory");
  } catch (const std::exception& error) {
    return make_status(ort::ErrorCode::kFail, error.what());
  } catch (...) {
    return make_status(ort::ErrorCode::kFail, "FuriosaProvider: unknown internal error");
  }
}

void Ort::log(const ort::Logger* logger, ort::Severity severity, const std::string& message) const {
  if (logger == nullptr) return;
  check(api[ort::kLoggerLogMessage](logger, severity, message.c_str(), "furiosa_ep", 0,
                                    "FuriosaProvider"));
}

std::vector<std::pair<std::string_view, std::string_view>> KeyValuePairs::entries() const {
  const ort::CString* keys = nullptr;
  const ort::CString* values = nullptr;
  size_t count = 0;
  ort_.api[ort::kGetKeyValuePairs](pairs_, &keys, &values, &count);
  std::vector<std::pair<std::string_view, std::string_view>> entries;
  for (size_t i = 0; i < count; ++i) entries.emplace_back(keys[i], values[i]);
  return entries;
}

}  // namespace furiosa
