#include "device_emulator/native/profiling/trace_json.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <iterator>

#include "furiosa_ep/include/furiosa_ep.h"

namespace furiosa::profiling {
namespace {

void append_number(int64_t number, std::string& text) {
  char digits[20];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), number).ptr;
  text.append(digits, end);
}

// Nanoseconds as the microseconds of a Chrome trace.
void append_time(int64_t nanoseconds, std::string& text) {
  append_number(nanoseconds / 1000, text);
  const auto rest = static_cast<int>(nanoseconds % 1000);
  text += '.';
  for (const int digit : {rest / 100, rest / 10 % 10, rest % 10}) {
    text += static_cast<char>('0' + digit);
  }
}

// How many bytes the UTF-8 character at the beginning of `text` has; 0 where it is none.
size_t character_size(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool beyond = (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF4 && byte(1) > 0x8F);
  return overlong || beyond ? 0 : size;
}

void append_string(std::string_view from, std::string& text) {
  static constexpr char kHex[] = "0123456789abcdef";
  text += '"';
  while (!from.empty()) {
    const auto byte = static_cast<unsigned char>(from.front());
    const size_t size = character_size(from);
    if (size == 0) {
      text += "\\ufffd";
    } else if (byte < 0x20) {
      text += "\\u00";
      text += kHex[byte >> 4];
      text += kHex[byte & 15];
    } else {
      if (byte == '"' || byte == '\\') text += '\\';
      text += from.substr(0, size);
    }
    from.remove_prefix(std::max<size_t>(size, 1));
  }
  text += '"';
}

}  // namespace

TraceJson::TraceJson() : process_("\"pid\":" + std::to_string(getpid()) + ",\"tid\":") {}

std::string TraceJson::head() const {
  std::string text = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
  text += "{\"name\":\"process_name\",\"ph\":\"M\"," + process_ + "0,\"args\":{\"name\":";
  append_string(program_invocation_short_name, text);
  return text + "}}";
}

void TraceJson::append_track(const Event& event, std::string& text) const {
  const auto metadata = [&](const char* what) {
    text += ",\n{\"name\":\"";
    text += what;
    text += "\",\"ph\":\"M\",";
    text += process_;
    append_number(event.track, text);
    text += ",\"args\":{";
  };
  metadata("thread_name");
  text += "\"name\":";
  append_string(event.track_name(), text);
  text += "}}";
  metadata("thread_sort_index");
  text += "\"sort_index\":";
  append_number(event.track, text);
  text += "}}";
}

void TraceJson::append(const Event& event, std::string& text) {
  if (tracks_.insert(event.track).second) append_track(event, text);
  text += ",\n{\"name\":";
  append_string(event.name, text);
  text += event.npu ? ",\"cat\":\"NPU\"" : ",\"cat\":\"Runtime\"";
  text += ",\"ph\":\"X\",\"ts\":";
  append_time(event.start, text);
  text += ",\"dur\":";
  append_time(event.duration, text);
  text += ',';
  text += process_;
  append_number(event.track, text);
  text += ",\"args\":{";
  char separator = '\0';
  const auto key = [&](const char* name) {
    if (separator != '\0') text += separator;
    separator = ',';
    text += '"';
    text += name;
    text += "\":";
  };
  event.numbers([&](const char* name, int64_t number) {
    key(name);
    append_number(number, text);
  });
  event.texts([&](const char* name, std::string_view value) {
    key(name);
    append_string(value, text);
  });
  text += "}}";
}

std::string TraceJson::tail(const Dropped& dropped) const {
  std::string text;
  if (dropped.events > 0) {
    text += ",\n{\"name\":\"" + std::to_string(dropped.events) +
            " events dropped from here on: the trace is full\",\"ph\":\"i\",\"s\":\"g\",\"ts\":";
    append_time(dropped.since, text);
    text += ',' + process_ + "0}";
  }
  text += "\n],\"otherData\":{\"producer\":\"furiosa-ep " FURIOSA_EP_VERSION "\",\"dropped_runs\":";
  text += std::to_string(dropped.runs) + ",\"dropped_events\":" + std::to_string(dropped.events);
  return text + "}}\n";
}

}  // namespace furiosa::profiling
