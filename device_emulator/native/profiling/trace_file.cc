#include "device_emulator/native/profiling/trace_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

namespace furiosa::profiling {
namespace {

namespace fs = std::filesystem;

constexpr char kProcess[] = "{pid}";
// Written at the latest when so much is pending, or so long after the last time (at first sooner).
constexpr size_t kMostPending = 1 << 14;
constexpr int64_t kShortest = 1'000'000;
constexpr int64_t kLongest = 1'000'000'000;

// Of the process, which keeps them.
std::map<std::string, std::shared_ptr<TraceFile>>& files() {
  static auto& only = *new std::map<std::string, std::shared_ptr<TraceFile>>();
  return only;
}

std::string replaced(std::string text, const std::string& process) {
  for (size_t at = 0; (at = text.find(kProcess, at)) != std::string::npos; at += process.size()) {
    text.replace(at, std::strlen(kProcess), process);
  }
  return text;
}

// Where a process writes; with its number in the name where others write to the same file.
fs::path path_for(const std::string& pattern, bool apart) {
  const std::string process = std::to_string(getpid());
  fs::path path = replaced(pattern, process);
  std::error_code not_there;
  if (!path.has_filename() || fs::is_directory(path, not_there)) {
    return path / ("furiosa-trace-" + process + ".json");
  }
  if (apart && pattern.find(kProcess) == std::string::npos) {
    path.replace_filename(path.stem().string() + "." + process + path.extension().string());
  }
  return path;
}

// Opens a file that no other process is writing; -1 where one is. Throws Error.
int open_file(const fs::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) {
    throw Error("cannot write the profile " + path.string() + ": " + std::strerror(errno));
  }
  if (flock(file, LOCK_EX | LOCK_NB) == 0 && ftruncate(file, 0) == 0) return file;
  close(file);
  return -1;
}

}  // namespace

std::shared_ptr<TraceFile> TraceFile::at(const std::string& path) {
  const std::string pattern = fs::absolute(path).string();
  const std::lock_guard lock(profiles_mutex());
  static const int registered = std::atexit(flush_all);
  static_cast<void>(registered);
  std::shared_ptr<TraceFile>& file = files()[pattern];
  if (file == nullptr) {
    try {
      file.reset(new TraceFile(pattern));
    } catch (...) {
      files().erase(pattern);
      throw;
    }
  }
  return file;
}

void TraceFile::flush_all() noexcept {
  const std::lock_guard lock(profiles_mutex());
  for (const auto& [pattern, file] : files()) file->flush();
}

TraceFile::TraceFile(std::string pattern) : pattern_(std::move(pattern)) { open(); }

TraceFile::~TraceFile() {
  if (file_ >= 0) close(file_);
}

// Begins a file for this process.
void TraceFile::open() {
  const bool forked = process_ != 0;
  if (file_ >= 0) close(std::exchange(file_, -1));
  process_ = getpid();
  pending_ = {};
  budget_ = Budget();
  timeline_ = {};
  json_ = std::make_unique<TraceJson>();
  interval_ = 0;
  fs::path path = path_for(pattern_, forked);
  if (path.has_parent_path() && !fs::path(pattern_).has_filename()) {
    std::error_code ignored;  // opening says it better
    fs::create_directories(path.parent_path(), ignored);
  }
  file_ = open_file(path);
  if (file_ < 0) file_ = open_file(path = path_for(pattern_, true));
  if (file_ < 0) throw Error("cannot write the profile " + path.string() + ": it is locked");
  path_ = path.string();
  end_ = 0;
  const std::string head = json_->head();
  if (write(head + json_->tail({}))) end_ = static_cast<off_t>(head.size());
}

void TraceFile::add(std::shared_ptr<const Run> run) { keep(std::move(run)); }
void TraceFile::add(std::shared_ptr<const Span> span) { keep(std::move(span)); }

template <class Item>
void TraceFile::keep(std::shared_ptr<const Item> item) {
  if (process_ != getpid()) {
    try {
      open();
    } catch (const std::exception&) {
      // The run goes on without a profile.
    }
  }
  if (file_ < 0 || !budget_.takes(*item)) return;
  pending_.add(std::move(item));
  if (pending_.events() >= kMostPending || now() - flushed_ >= interval_) flush();
}

void TraceFile::flush() noexcept {
  if (file_ < 0 || process_ != getpid()) return;
  bool written = false;
  try {
    std::string text;
    std::exchange(pending_, {}).for_each(timeline_, Resource::kAll, [&](const Event& event) {
      json_->append(event, text);
    });
    const auto size = static_cast<off_t>(text.size());
    written = write(text + json_->tail(budget_.dropped()));
    end_ += size;
  } catch (const std::exception&) {
    // No memory: as where the disk is full.
  }
  if (!written) close(std::exchange(file_, -1));  // what is there stays, and runs go on
  flushed_ = now();
  interval_ = std::clamp(2 * interval_, kShortest, kLongest);
}

// Writes `text` where the tail is.
bool TraceFile::write(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count =
        pwrite(file_, text.data() + done, text.size() - done, end_ + static_cast<off_t>(done));
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) done += static_cast<size_t>(count);
  }
  return true;
}

}  // namespace furiosa::profiling
