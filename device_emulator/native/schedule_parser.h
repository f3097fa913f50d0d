#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_SCHEDULE_PARSER_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_SCHEDULE_PARSER_H_

#include <span>
#include <string_view>

#include "device_emulator/native/program_format.h"

namespace furiosa {

// The schedule of a Program of so many commands. Throws Error for what it cannot trust.
Schedule parse_schedule(const format::HeaderRecord& header, std::string_view target,
                        std::span<const format::EventRecord> records, size_t commands);

}  // namespace furiosa

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_SCHEDULE_PARSER_H_
