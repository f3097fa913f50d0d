#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_DEVICE_ERROR_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_DEVICE_ERROR_H_

#include <string>

#include "device_emulator/native/program.h"
#include "furiosa_ep/include/furiosa_ep.h"

namespace furiosa {

// What a device answers; the text begins with the name of the status, as in "DeviceBusy: ...".
class DeviceError : public Error {
 public:
  DeviceError(furiosa_status status, const std::string& reason)
      : Error(name(status) + (": " + reason)), status_(status) {}

  furiosa_status status() const { return status_; }

  static const char* name(furiosa_status status) {
    switch (status) {
      case FURIOSA_DEVICE_BUSY:
        return "DeviceBusy";
      case FURIOSA_DEVICE_NOT_FOUND:
        return "DeviceNotFound";
      case FURIOSA_DEVICE_TIMEOUT:
        return "DeviceTimeout";
      case FURIOSA_DEVICE_LOST:
        return "DeviceLost";
      case FURIOSA_DMA_ERROR:
        return "DmaError";
      case FURIOSA_ECC_ERROR:
        return "EccError";
      case FURIOSA_OUT_OF_DEVICE_MEMORY:
        return "OutOfDeviceMemory";
      default:
        return "DeviceError";
    }
  }

 private:
  furiosa_status status_;
};

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_DEVICE_ERROR_H_
