// Profiles: what they show of runs, what they leave out, and that threads may run, attach and
// detach at the same time. For the thread sanitizer build, too.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <thread>

#include "device_emulator/native/executor.h"
#include "device_emulator/native/kernel_registry.h"
#include "device_emulator/native/profiling/recording.h"
#include "device_emulator/native/profiling/session_profile.h"
#include "tests/native/samples.h"

namespace furiosa::test {
namespace {

using profiling::Attachment;
using profiling::Event;
using profiling::kAllSessions;
using profiling::Recording;
using profiling::Resource;

bool expect(bool right, const char* what) {
  if (!right) std::fprintf(stderr, "not so: %s\n", what);
  return right;
}

void run(const Executable& executable, const profiling::Origin& origin = {}) {
  Buffers buffers(executable.program(), 7);
  InlinePool pool;
  executable.run(buffers.input_pointers, buffers.output_pointers, pool, origin);
}

// An event with its texts copied.
struct Shown {
  std::string name, operators, track_name;
  Event event;
};

std::vector<Shown> shown(const Recording& recording, Resource wanted = Resource::kAll) {
  std::vector<Shown> events;
  recording.for_each(wanted, [&](const Event& event) {
    events.push_back(
        {std::string(event.name), std::string(event.operators), event.track_name(), event});
  });
  return events;
}

std::vector<std::string> names_on(const std::vector<Shown>& events, const char* track) {
  std::vector<std::string> names;
  for (const Shown& one : events) {
    if (one.track_name == track) names.push_back(one.name);
  }
  return names;
}

using Names = std::vector<std::string>;

bool shows_host_and_device() {
  const auto executable = Executable::load(samples().front().program);
  const auto recording = std::make_shared<Recording>();
  run(*executable);
  {
    const Attachment attachment(recording, kAllSessions);
    run(*executable, {7, "part", 1, 1});
  }
  run(*executable);
  const std::vector<Shown> events = shown(*recording);
  const auto find = [&](const char* name) {
    return std::ranges::find(events, name, &Shown::name)->event;
  };
  const size_t commands = executable->program().commands().size();
  if (!expect(events.size() == 2 + commands + 7, "one run with its commands and events")) {
    return false;
  }
  const Event& inference = events.front().event;
  int64_t host = inference.start;
  for (size_t i = 0; i < commands; ++i) {
    const Event& command = events[1 + i].event;
    if (!expect(command.start == host && command.operator_index == static_cast<int64_t>(i) &&
                    command.parent_span_id == inference.span_id,
                "commands follow one another")) {
      return false;
    }
    host += command.duration;
  }
  std::set<int64_t> spans;
  for (const Shown& one : events) spans.insert(one.event.span_id);
  const int64_t start = inference.start;
  const Event conv = find("LowLevelConv2d"), load = find("Load"), execution = find("Execution");
  return expect(host == start + inference.duration, "a run is its commands") &&
         expect(inference.session == 7 && inference.trace_id > 0, "whose run it is") &&
         expect(spans.size() == events.size() && !spans.contains(0), "spans have own numbers") &&
         expect(names_on(events, "npu1pe1 compute") ==
                    Names{"Execution", "LowLevelConv2d", "LowLevelMaxPool"},
                "what computes") &&
         expect(names_on(events, "npu1pe1 DMA") == Names{"Load", "Store"}, "what is loaded") &&
         expect(names_on(events, "npu1pe1 I/O") == Names{"FeedInputs", "FetchOutputs"}, "I/O") &&
         expect(names_on(events, "npu1pe1 host (modelled)") == Names{"Quantize"}, "the host") &&
         // 500 ns a cycle
         expect(conv.start == start + 60'000 && conv.duration == 190'000, "when it computes") &&
         expect(conv.npu && conv.pe_index == 3 && conv.parent_span_id == execution.span_id &&
                    conv.track == 10'000'003 && conv.operator_index == 2,
                "where it computes") &&
         expect(load.bytes == 700 && load.track == 10'001'003, "what is moved") &&
         expect(execution.start == start + 47'500 && execution.duration == 217'500, "execution");
}

bool shows_what_is_wanted() {
  const auto executable = Executable::load(samples().front().program);
  const auto recording = std::make_shared<Recording>();
  const Attachment attachment(recording, 3);
  run(*executable, {3, "", 0, 0});
  run(*executable, {4, "", 0, 0});
  const auto cpu = shown(*recording, Resource::kCpu), npu = shown(*recording, Resource::kNpu);
  const auto is_npu = [](const Shown& one) { return one.event.npu; };
  return expect(shown(*recording).size() == cpu.size() + npu.size(), "of one session") &&
         expect(std::ranges::none_of(cpu, is_npu) && std::ranges::all_of(npu, is_npu), "resource");
}

// What a throttled clock drives takes longer, and what follows comes later.
bool shows_a_throttled_clock() {
  const auto executable = Executable::load(samples().front().program);
  const auto recording = std::make_shared<Recording>();
  {
    const Attachment attachment(recording, kAllSessions);
    run(*executable);
    run(*executable, {0, "", 0, 0, 250});
  }
  const std::vector<Shown> events = shown(*recording);
  const size_t one = events.size() / 2;
  int64_t later = 0, npu = -1;
  for (size_t i = 0; i < one; ++i) {
    const Event &full = events[i].event, &slow = events[one + i].event;
    if (full.thread != nullptr) continue;
    const bool driven = full.npu && full.engine != Engine::kIo;
    if (!expect(slow.duration == (driven ? 4 : 1) * full.duration, "what takes longer")) {
      return false;
    }
    if (events[i].name == "Execution") {
      npu = full.start;
      later = slow.start - full.start;
      if (!expect(slow.clock_permille == 250 && full.clock_permille == Event::kNone, "the clock")) {
        return false;
      }
    }
    const int64_t since = full.start - npu, within = std::min<int64_t>(since, 217'500);
    if (npu >= 0 && since >= 0 &&
        !expect(slow.start - full.start == later + 3 * within, "how much later it is")) {
      return false;
    }
  }
  return expect(npu >= 0, "an execution");
}

int32_t fail(const furiosa_kernel_frame*) { return 3; }

// Two commands, of which the last one fails.
Bytes failing_program() {
  ProgramBuilder b;
  const uint32_t x = b.input(DType::kU8, {6}), y = b.output(DType::kU8, {6});
  const uint32_t z = b.output(DType::kU8, {6});
  b.command(Opcode::CALL, {b.text("PROFILED"), x, y}, call_words(0, 2));
  b.command(Opcode::CALL, {b.text("FAILING"), x, z}, call_words(0, 2));
  b.command(Opcode::CALL, {b.text("PROFILED"), x, y}, call_words(0, 2));
  return b.finish();
}

bool shows_what_fails() {
  furiosa_kernel kernel{};
  kernel.size = sizeof kernel;
  kernel.version = FURIOSA_KERNEL_VERSION;
  kernel.plugin = "profiler";
  kernel.operands = "x:u8 -> y:u8";
  kernel.attributes = "";
  kernel.isa = "scalar";
  kernel.opcode = "PROFILED";
  kernel.run = [](const furiosa_kernel_frame*) -> int32_t { return 0; };
  kernel_registry().add(kernel);
  kernel.opcode = "FAILING";
  kernel.run = &fail;
  kernel_registry().add(kernel);
  const auto failing = Executable::load(failing_program());
  const auto sound = Executable::load(samples().front().program);
  const auto recording = std::make_shared<Recording>();
  bool failed = false;
  {
    const Attachment attachment(recording, kAllSessions);
    try {
      run(*failing);
    } catch (const Error&) {
      failed = true;
    }
    sound->record_failure({5, "part", 0, 0}, profiling::now() - 1000, "DmaError: so");
  }
  const std::vector<Shown> events = shown(*recording);
  if (!expect(failed && events.size() == 4, "what ran")) return false;
  const Event &run = events[0].event, &last = events[2].event, &none = events[3].event;
  return expect(events[1].name == "Call" && events[2].name == "Call", "commands that began") &&
         expect(run.error.ends_with("it returned 3") && last.error.empty(), "why") &&
         expect(last.start + last.duration <= run.start + run.duration, "until it failed") &&
         expect(none.error == "DmaError: so" && none.duration >= 1000 && none.session == 5,
                "a run that has not begun") &&
         expect(recording->json(Resource::kAll).find("\"error\":\"DmaError: so\"") !=
                    std::string::npos,
                "as an argument");
}

// However long the modelled device takes, it does one thing at a time on each engine.
bool a_device_runs_one_after_the_other() {
  const auto executable = Executable::load(samples().front().program);
  const auto recording = std::make_shared<Recording>();
  {
    const Attachment attachment(recording, kAllSessions);
    for (int i = 0; i < 5; ++i) run(*executable);
  }
  std::map<int64_t, int64_t> free;
  for (const Shown& one : shown(*recording, Resource::kNpu)) {
    if (one.name == "Execution") continue;
    if (!expect(one.event.start >= free[one.event.track], "no overlap on a track")) return false;
    free[one.event.track] = one.event.start + one.event.duration;
  }
  return expect(free.size() == 3, "tracks of compute, DMA and I/O");
}

bool forgets_what_is_too_much() {
  const auto executable = Executable::load(samples().front().program);
  const auto recording = std::make_shared<Recording>(40);
  {
    const Attachment attachment(recording, kAllSessions);
    for (int i = 0; i < 5; ++i) run(*executable);
  }
  const size_t one = 2 + executable->program().commands().size() + 7;
  const std::string json = recording->json(Resource::kAll);
  const auto says = [&](const std::string& text) { return json.find(text) != std::string::npos; };
  return expect(shown(*recording).size() == 40 / one * one, "as many runs as there is room for") &&
         expect(says("\"dropped_runs\":3,\"dropped_events\":" + std::to_string(3 * one)),
                "how many were dropped") &&
         expect(says("events dropped from here on"), "an event that says so");
}

bool escapes_texts() {
  const auto recording = std::make_shared<Recording>();
  recording->add(std::make_shared<const profiling::Span>(
      profiling::Span{"a\"\\\n\x01\xC3\xA9\xFF\xE2\x82\xF0\x9F\x98\x80\xED\xA0\x80",
                      {1, {"t"}},
                      1,
                      1'234'567,
                      1'234'600}));
  const std::string json = recording->json(Resource::kCpu);
  const auto says = [&](const char* text) { return json.find(text) != std::string::npos; };
  return expect(says("\"a\\\"\\\\\\u000a\\u0001\xC3\xA9\\ufffd\\ufffd\\ufffd\xF0\x9F\x98\x80"
                     "\\ufffd\\ufffd\\ufffd\""),
                "texts are valid JSON") &&
         expect(says("{\"name\":\"process_name\",") && says("{\"name\":\"profiling_test\"}"),
                "what the process is called") &&
         expect(says("\"ts\":1234.567,\"dur\":0.033,"), "times in microseconds");
}

bool threads_run_and_attach() {
  const auto executable = Executable::load(samples().front().program);
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (uint64_t session = 1; session <= 3; ++session) {
    threads.emplace_back([&, session] {
      while (!done) run(*executable, {session, "", 0, 0});
    });
  }
  size_t events = 0;
  for (int i = 0; i < 30; ++i) {
    const auto all = std::make_shared<Recording>(), one = std::make_shared<Recording>();
    const Attachment everything(all, kAllSessions);
    const Attachment again(all, 2);
    const Attachment second(one, 2);
    run(*executable, {2, "", 0, 0});
    const size_t both = shown(*one).size();
    events += both;
    if (!expect(both > 0 && shown(*all).size() >= both, "runs while others attach")) return false;
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  return expect(events > 0 && !profiling::attached(), "nothing is attached any more");
}

// Sessions that come and go, all with one file.
bool threads_write_a_file() {
  const auto executable = Executable::load(samples().front().program);
  char folder[] = "/tmp/profiling_test.XXXXXX";
  if (!expect(mkdtemp(folder) != nullptr, "a folder")) return false;
  const std::string path = std::string(folder) + "/trace.json";
  constexpr int kThreads = 3, kSessions = 8, kRuns = 5;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int session = 0; session < kSessions; ++session) {
        profiling::SessionProfile profile;
        profile.write_to(path);
        for (int repeat = 0; repeat < kRuns; ++repeat)
          run(*executable, {profile.session(), "", 0, 0});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  size_t found = 0;
  for (size_t at = 0; (at = text.find("\"Inference\"", at)) != std::string::npos; ++at) ++found;
  std::filesystem::remove_all(folder);
  return expect(found == kThreads * kSessions * kRuns, "every run is in the file") &&
         expect(text.ends_with("\"dropped_events\":0}}\n"), "the file is whole");
}

}  // namespace
}  // namespace furiosa::test

int main() {
  using namespace furiosa::test;
  const bool right = shows_host_and_device() && shows_what_is_wanted() &&
                     shows_a_throttled_clock() && shows_what_fails() &&
                     a_device_runs_one_after_the_other() && forgets_what_is_too_much() &&
                     escapes_texts() && threads_run_and_attach() && threads_write_a_file();
  return right ? 0 : 1;
}
