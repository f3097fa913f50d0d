// The part of the C API that is about profiles.

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "device_emulator/native/api.h"
#include "device_emulator/native/profiling/recording.h"

struct furiosa_profile {
  const std::shared_ptr<furiosa::profiling::Recording> recording =
      std::make_shared<furiosa::profiling::Recording>();
  std::mutex mutex;  // of `attachment`
  std::optional<furiosa::profiling::Attachment> attachment;
};

namespace {

using furiosa::guarded;
using furiosa::require;
using namespace furiosa::profiling;

constexpr uint32_t kAllResources = static_cast<uint32_t>(Resource::kAll);

}  // namespace

extern "C" {

furiosa_status furiosa_profile_create(furiosa_profile** profile) noexcept {
  return guarded([&] {
    require(profile != nullptr, "profile is NULL");
    *profile = nullptr;
    *profile = new furiosa_profile();
  });
}

void furiosa_profile_free(furiosa_profile* profile) noexcept { delete profile; }

furiosa_status furiosa_profile_record(furiosa_profile* profile, int32_t on) noexcept {
  return guarded([&] {
    require(profile != nullptr, "profile is NULL");
    const std::lock_guard lock(profile->mutex);
    if (on == 0) {
      profile->attachment.reset();
    } else if (!profile->attachment.has_value()) {
      profile->attachment.emplace(profile->recording, kAllSessions);
    }
  });
}

furiosa_status furiosa_profile_span(furiosa_profile* profile, const char* name, int64_t start,
                                    int64_t end) noexcept {
  return guarded([&] {
    require(profile != nullptr && name != nullptr, "profile or name is NULL");
    require(0 <= start && start <= end, "a span must end after it starts");
    auto span =
        std::make_shared<const Span>(Span{name, Thread::current(), reserve_spans(1), start, end});
    const std::lock_guard lock(profiles_mutex());
    profile->recording->add(std::move(span));
  });
}

furiosa_status furiosa_profile_write(const furiosa_profile* profile, uint32_t resources,
                                     furiosa_writer write, void* context) noexcept {
  return guarded([&] {
    require(profile != nullptr && write != nullptr, "profile or write is NULL");
    require(0 < resources && resources <= kAllResources, "unknown resources");
    const std::string json = profile->recording->json(static_cast<Resource>(resources));
    write(context, json.data(), json.size());
  });
}

}  // extern "C"
