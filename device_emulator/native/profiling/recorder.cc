#include "device_emulator/native/profiling/recorder.h"

#include <pthread.h>

#include <algorithm>

namespace furiosa::profiling {
namespace {

// Never destroyed: sessions may outlive static objects.
std::vector<const Attachment*>& attachments() {
  static auto& only = *new std::vector<const Attachment*>();
  return only;
}

template <class Item>
void give(const Sinks& sinks, const std::shared_ptr<const Item>& item) {
  const std::lock_guard lock(profiles_mutex());
  for (const std::shared_ptr<Sink>& sink : sinks) sink->add(item);
}

void give_run(const Sinks& sinks, const Origin& origin, std::shared_ptr<const Outline> outline,
              std::vector<int64_t> times, int64_t end, std::optional<std::string> error) {
  const uint64_t spans = outline->events();
  give(sinks, std::make_shared<const Run>(
                  Run{std::move(outline), Thread::current(), origin.session,
                      std::string(origin.partition), origin.card, origin.pe, origin.clock_permille,
                      next_run(), reserve_spans(spans), std::move(times), end, std::move(error)}));
}

}  // namespace

std::mutex& profiles_mutex() {
  static std::mutex& only = []() -> std::mutex& {
    auto& made = *new std::mutex();
    pthread_atfork([] { profiles_mutex().lock(); }, [] { profiles_mutex().unlock(); },
                   [] { profiles_mutex().unlock(); });
    return made;
  }();
  return only;
}

Sinks sinks_of(uint64_t session) {
  Sinks sinks;
  if (!attached()) return sinks;
  const std::lock_guard lock(profiles_mutex());
  for (const Attachment* one : attachments()) {
    const bool wanted = one->session_ == kAllSessions || one->session_ == session;
    if (wanted && std::ranges::find(sinks, one->sink_) == sinks.end()) sinks.push_back(one->sink_);
  }
  return sinks;
}

Attachment::Attachment(std::shared_ptr<Sink> sink, uint64_t session)
    : sink_(std::move(sink)), session_(session) {
  const std::lock_guard lock(profiles_mutex());
  attachments().push_back(this);
  internal::any_attached.store(true, std::memory_order_relaxed);
}

Attachment::~Attachment() {
  const std::lock_guard lock(profiles_mutex());
  std::erase(attachments(), this);
  internal::any_attached.store(!attachments().empty(), std::memory_order_relaxed);
}

void record_run(const Sinks& sinks, const Origin& origin, std::shared_ptr<const Outline> outline,
                std::vector<int64_t> times) {
  const int64_t end = times.back();
  give_run(sinks, origin, std::move(outline), std::move(times), end, std::nullopt);
}

void record_failure(const Sinks& sinks, const Origin& origin,
                    std::shared_ptr<const Outline> outline, std::vector<int64_t> times,
                    const char* error) {
  give_run(sinks, origin, std::move(outline), std::move(times), now(), error);
}

SpanScope::SpanScope(uint64_t session, const char* name) : sinks_(sinks_of(session)), name_(name) {
  if (!sinks_.empty()) start_ = now();
}

SpanScope::~SpanScope() {
  if (sinks_.empty()) return;
  give(sinks_, std::make_shared<const Span>(
                   Span{name_, Thread::current(), reserve_spans(1), start_, now()}));
}

}  // namespace furiosa::profiling
