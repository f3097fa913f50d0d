#ifndef FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_TRACE_FILE_H_
#define FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_TRACE_FILE_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "device_emulator/native/profiling/recording.h"

namespace furiosa::profiling {

// A Chrome trace in a file, which is whole after every write: now and then, at the end of a
// session, and when the process ends. One is open as long as the process, so that all that it
// profiles finds room in it. A forked child writes to a file of its own.
class TraceFile final : public Sink {
 public:
  // The trace at `path`: a file's name, in which {pid} stands for the number of the process, or a
  // folder. A file that another process is writing gets that number into its name. Throws Error
  // where it cannot be written.
  static std::shared_ptr<TraceFile> at(const std::string& path);
  // Writes what has been recorded up to now to all files.
  static void flush_all() noexcept;

  ~TraceFile() override;
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  void add(std::shared_ptr<const Run> run) override;
  void add(std::shared_ptr<const Span> span) override;

 private:
  explicit TraceFile(std::string pattern);
  template <class Item>
  void keep(std::shared_ptr<const Item> item);
  void open();
  void flush() noexcept;
  bool write(const std::string& text);

  const std::string pattern_;
  std::string path_;
  pid_t process_ = 0;
  int file_ = -1;
  off_t end_ = 0;  // where the tail begins
  Batch pending_;
  Budget budget_;
  Timeline timeline_;
  std::unique_ptr<TraceJson> json_;
  int64_t flushed_ = 0;   // when
  int64_t interval_ = 0;  // until the next time
};

}  // namespace furiosa::profiling

#endif  // FURIOSA_DEVICE_EMULATOR_NATIVE_PROFILING_TRACE_FILE_H_
