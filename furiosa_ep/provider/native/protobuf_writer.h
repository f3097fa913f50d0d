#ifndef FURIOSA_EP_PROVIDER_NATIVE_PROTOBUF_WRITER_H_
#define FURIOSA_EP_PROVIDER_NATIVE_PROTOBUF_WRITER_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace furiosa {

// Writes one protobuf message in the wire format, field by field.
class ProtobufWriter {
 public:
  void integer(uint32_t field, int64_t value) {
    tag(field, 0);
    varint(static_cast<uint64_t>(value));
  }
  void real(uint32_t field, float value) {
    static_assert(std::endian::native == std::endian::little);
    tag(field, 5);
    char bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    out_.append(bytes, sizeof(bytes));
  }
  void bytes(uint32_t field, std::string_view value) {
    tag(field, 2);
    varint(value.size());
    out_.append(value);
  }
  // A nested message, written by `write(ProtobufWriter&)`.
  template <class Write>
  void message(uint32_t field, Write&& write) {
    ProtobufWriter nested;
    write(nested);
    bytes(field, nested.out_);
  }

  std::string take() && { return std::move(out_); }

 private:
  void tag(uint32_t field, uint32_t wire_type) { varint(uint64_t{field} << 3 | wire_type); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }

  std::string out_;
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_PROTOBUF_WRITER_H_
