#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_DEVICE_HANDLE_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_DEVICE_HANDLE_H_

#include "device_emulator/native/devices/device.h"
#include "furiosa_ep/include/furiosa_ep.h"

// Behind the handle of the C API.
struct furiosa_device {
  std::shared_ptr<furiosa::Device> device;
};

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_DEVICES_DEVICE_HANDLE_H_
