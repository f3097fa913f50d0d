#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_TEXT_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_TEXT_H_

#include <string>
#include <string_view>

namespace furiosa {

// `text` with a '?' for every byte that is no part of a character of UTF-8.
std::string valid_utf8(std::string_view text);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_TEXT_H_
