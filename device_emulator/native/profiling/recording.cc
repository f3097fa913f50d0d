#include "device_emulator/native/profiling/recording.h"

#include <algorithm>

namespace furiosa::profiling {

void Batch::add(std::shared_ptr<const Run> run) {
  events_ += run->events();
  runs_.push_back(std::move(run));
}

void Batch::add(std::shared_ptr<const Span> span) {
  ++events_;
  spans_.push_back(std::move(span));
}

void Batch::for_each(Timeline& timeline, Resource wanted, const Timeline::Use& use) const {
  auto runs = runs_;
  std::ranges::stable_sort(runs, {}, [](const auto& run) { return run->times.front(); });
  for (const std::shared_ptr<const Span>& span : spans_) Timeline::events(*span, wanted, use);
  for (const std::shared_ptr<const Run>& run : runs) timeline.events(*run, wanted, use);
}

bool Budget::takes(const Run& run) { return takes(run.events(), 1, run.times.front()); }
bool Budget::takes(const Span& span) { return takes(1, 0, span.start); }

bool Budget::takes(size_t events, size_t runs, int64_t start) {
  if (dropped_.events == 0 && events <= left_) {
    left_ -= events;
    return true;
  }
  if (dropped_.events == 0) dropped_.since = start;
  dropped_.events += events;
  dropped_.runs += runs;
  return false;
}

void Recording::add(std::shared_ptr<const Run> run) {
  if (budget_.takes(*run)) batch_.add(std::move(run));
}

void Recording::add(std::shared_ptr<const Span> span) {
  if (budget_.takes(*span)) batch_.add(std::move(span));
}

void Recording::for_each(Resource wanted, const Timeline::Use& use) const {
  Timeline timeline;
  snapshot().first.for_each(timeline, wanted, use);
}

std::string Recording::json(Resource wanted) const {
  TraceJson json;
  Timeline timeline;
  std::string text = json.head();
  const auto [batch, dropped] = snapshot();
  batch.for_each(timeline, wanted, [&](const Event& event) { json.append(event, text); });
  return text + json.tail(dropped);
}

std::pair<Batch, Dropped> Recording::snapshot() const {
  const std::lock_guard lock(profiles_mutex());
  return {batch_, budget_.dropped()};
}

}  // namespace furiosa::profiling
