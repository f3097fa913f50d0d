#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_API_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_API_H_

// What the parts of the C API share.

#include <exception>
#include <memory>
#include <new>
#include <string>

#include "device_emulator/native/devices/device_error.h"
#include "device_emulator/native/executor.h"
#include "furiosa_ep/include/furiosa_ep.h"

struct furiosa_program {
  std::shared_ptr<const furiosa::Executable> executable;
};

namespace furiosa {

// The text of furiosa_last_error() on this thread.
inline std::string& last_error() {
  thread_local std::string text;
  return text;
}

inline furiosa_status failed(furiosa_status status, const char* reason) noexcept {
  try {
    last_error() = reason;
  } catch (const std::bad_alloc&) {
    last_error().clear();
  }
  return status;
}

// Runs `body`, and turns what it throws into a status.
template <class Body>
furiosa_status guarded(Body&& body) noexcept {
  try {
    body();
    return FURIOSA_OK;
  } catch (const DeviceError& error) {
    return failed(error.status(), error.what());
  } catch (const Error& error) {
    return failed(FURIOSA_INVALID, error.what());
  } catch (const std::bad_alloc&) {
    return failed(FURIOSA_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return failed(FURIOSA_INTERNAL, error.what());
  } catch (...) {
    return failed(FURIOSA_INTERNAL, "unknown error");
  }
}

inline void require(bool condition, const char* reason) {
  if (!condition) throw Error(reason);
}

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_API_H_
