// Devices: turns, what processes hold, DRAM, and a state file of which no byte can be trusted. For
// the sanitizer builds, too.

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "device_emulator/native/devices/configuration.h"
#include "device_emulator/native/devices/device.h"
#include "device_emulator/native/devices/device_error.h"
#include "device_emulator/native/devices/faults.h"
#include "furiosa_ep/include/furiosa_ep.h"

namespace furiosa::test {
namespace {

constexpr std::chrono::duration<double> kTimeout(10);
constexpr uint64_t kDram = 1000;
constexpr RunCost kCost{100, 80, 50, 10, 3, 4, 300};

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::_Exit(1);
}

// A host of its own with two cards, for one test.
class Directory {
 public:
  Directory() {
    char name[] = "/tmp/devices_test_XXXXXX";
    require(mkdtemp(name) != nullptr, "a directory");
    path_ = name;
    configure(path_, {{kDram, {}}, {kDram, {}}});
  }
  ~Directory() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  Host& host() const { return Host::at(path_); }

 private:
  std::string path_;
};

furiosa_status open_status(uint32_t card, uint32_t first, uint32_t last, Hold how) {
  try {
    Device::open({{card, first, last}}, how);
    return FURIOSA_OK;
  } catch (const DeviceError& error) {
    return error.status();
  }
}

// The exit status of a child that runs `body`; that of one that was killed is the signal.
template <class Body>
int in_child(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
}

template <class Body>
void in_threads(int count, Body&& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([&body, i] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

void no_more_than_there_are_places_are_admitted() {
  Turns turns(2);
  std::atomic<int> inside = 0, most = 0, total = 0;
  in_threads(8, [&](int) {
    for (int i = 0; i < 500; ++i) {
      turns.enter();
      const int now = ++inside;
      for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
      }
      if (i % 50 == 0) std::this_thread::yield();
      --inside;
      turns.leave([&] { total = total + 1; });  // one at a time
    }
  });
  require(most <= 2, "two at once");
  require(total == 8 * 500, "all have had their turn");
}

void who_comes_first_is_admitted_first() {
  Turns turns(1);
  turns.enter();
  std::vector<int> order;
  std::vector<std::thread> waiting;
  for (int i = 0; i < 5; ++i) {
    waiting.emplace_back([&, i] {
      turns.enter();
      order.push_back(i);
      turns.leave([] {});
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  turns.leave([] {});
  for (std::thread& thread : waiting) thread.join();
  require(order == std::vector<int>({0, 1, 2, 3, 4}), "in the order in which they came");
}

void threads_count_every_run() {
  const Directory directory;
  const auto device = Device::open({{0, 0, 1}}, Hold::kShared);
  const auto single = Device::open({{0, 0, 0}, {0, 1, 1}}, Hold::kShared);
  Placement fused(device, kCost), singles(single, kCost);
  in_threads(6, [&](int thread) {
    for (int i = 0; i < 400; ++i) {
      DeviceRun run(thread % 2 == 0 ? fused : singles, kTimeout);
      if (thread < 4) run.succeeded();
    }
  });
  const Counters& first = directory.host().counters(0);
  const Counters& second = directory.host().counters(1);
  require(first.executions + second.executions == 2 * 2 * 400 + 2 * 400, "executions");
  require(first.failures + second.failures == 2 * 400 + 400, "failures");
  require(first.cycles == 100 * first.executions, "cycles");
  require(second.bytes_in < 3 * second.executions, "bytes of fused PEs on the first one");
  require(first.bytes_out + second.bytes_out == 4 * (2 * 400 + 2 * 400), "bytes");
}

void threads_open_and_close() {
  const Directory directory;
  in_threads(6, [&](int thread) {
    for (int i = 0; i < 60; ++i) {
      const auto device =
          Device::open({{0, 0, 0}}, thread % 2 == 0 ? Hold::kShared : Hold::kExclusive);
      Placement placement(device, RunCost{1, 1, 1, 1, 1, 1, 10});
      DeviceRun(placement, kTimeout).succeeded();
    }
  });
  require(directory.host().own_hold(0) == Hold::kNone, "nothing is held");
  require(in_child([] {
            require(open_status(0, 0, 0, Hold::kExclusive) == FURIOSA_OK, "free for others");
          }) == 0,
          "nothing is locked");
}

void what_a_process_holds_is_its_own() {
  const Directory directory;
  const auto alone = Device::open({{0, 0, 0}}, Hold::kExclusive);
  const auto shared = Device::open({{0, 1, 1}}, Hold::kShared);
  Placement on_alone(alone, kCost), on_shared(shared, kCost);
  const int status = in_child([&] {
    require(open_status(0, 0, 0, Hold::kShared) == FURIOSA_DEVICE_BUSY, "held exclusively");
    require(open_status(0, 1, 1, Hold::kExclusive) == FURIOSA_DEVICE_BUSY, "held shared");
    require(open_status(0, 0, 1, Hold::kShared) == FURIOSA_DEVICE_BUSY, "one of two is held");
    require(directory.host().own_hold(1) == Hold::kNone, "nothing is left of that");
    require(open_status(1, 0, 1, Hold::kExclusive) == FURIOSA_OK, "the other card");
    DeviceRun(on_shared, kTimeout).succeeded();
    require(directory.host().own_hold(1) == Hold::kShared, "held anew by the run");
    require(directory.host().counters(1).executions == 1, "counted on its own");
    try {
      DeviceRun run(on_alone, kTimeout);
      require(false, "a run on what the parent holds");
    } catch (const DeviceError& error) {
      require(error.status() == FURIOSA_DEVICE_BUSY, "busy");
    }
  });
  require(status == 0, "the child");
  DeviceRun(on_alone, kTimeout).succeeded();
  require(directory.host().counters(1).executions == 0, "the child's run is not the parent's");
}

void a_killed_process_leaves_nothing() {
  const Directory directory;
  const int status = in_child([] {
    const auto device = Device::open({{0, 0, 1}}, Hold::kExclusive);
    Placement placement(device, kCost);
    DeviceRun run(placement, kTimeout);
    raise(SIGKILL);
  });
  require(status == SIGKILL, "killed");
  const auto device = Device::open({{0, 0, 1}}, Hold::kExclusive);
  const Placement whole(device, RunCost{0, 0, 0, 0, 0, 0, kDram});
  DeviceRun(const_cast<Placement&>(whole), kTimeout).succeeded();
}

void dram_is_shared_by_processes() {
  const Directory directory;
  const auto device = Device::open({{0, 0, 0}}, Hold::kShared);
  Placement first(device, RunCost{0, 0, 0, 0, 0, 0, 600});
  const auto fits = [&](uint64_t bytes) {
    try {
      const Placement placement(device, RunCost{0, 0, 0, 0, 0, 0, bytes});
      return true;
    } catch (const DeviceError& error) {
      require(error.status() == FURIOSA_OUT_OF_DEVICE_MEMORY, "out of memory");
      return false;
    }
  };
  require(fits(400) && !fits(401) && !fits(~uint64_t{0}) && fits(400), "600 of 1000 are taken");
  require(in_child([&] {
            require(!fits(401), "the parent's count");
            DeviceError* found = nullptr;
            try {
              DeviceRun run(first, kTimeout);  // needs another 600
            } catch (const DeviceError& error) {
              require(error.status() == FURIOSA_OUT_OF_DEVICE_MEMORY, "the child's count too");
              static DeviceError copy(error);
              found = &copy;
            }
            require(found != nullptr, "600 and 600 are too much");
          }) == 0,
          "the child");
}

void processes_race_for_a_new_host() {
  char name[] = "/tmp/devices_test_XXXXXX";
  require(mkdtemp(name) != nullptr, "a directory");
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      configure(name, {{kDram, {}}});
      for (int turn = 0; turn < 50; ++turn) {
        try {
          const auto device = Device::open({{0, 0, 0}}, Hold::kExclusive);
          Placement placement(device, RunCost{1, 1, 1, 1, 1, 1, kDram});
          DeviceRun(placement, kTimeout).succeeded();
        } catch (const DeviceError& error) {
          require(error.status() == FURIOSA_DEVICE_BUSY, error.what());
        }
      }
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "each child");
  }
  std::filesystem::remove_all(name);
}

// Everything that reads the state, which must neither crash nor hang.
void look_at_everything() {
  std::vector<furiosa_client> clients(300);
  size_t count = 0;
  require(furiosa_clients(clients.data(), clients.size(), &count) == FURIOSA_OK, "clients");
  for (uint32_t card = 0; card < 2; ++card) {
    for (uint32_t pe = 0; pe < 2; ++pe) {
      furiosa_pe status{};
      status.size = sizeof(status);
      require(furiosa_pe_status(card, pe, &status) == FURIOSA_OK, "the status of a PE");
      require(status.health <= 5, "a health that is known");
      for (uint32_t slot = 0; slot < kMaxClients; slot += 17) {
        furiosa_usage usage{};
        usage.size = sizeof(usage);
        require(furiosa_client_usage(slot, card, pe, &usage) == FURIOSA_OK, "what a client uses");
        require(usage.hold <= FURIOSA_HOLD_EXCLUSIVE, "a hold that is known");
      }
    }
  }
}

void garbage_in_the_state_does_no_harm() {
  std::string good;
  {
    const Directory directory;
    const auto device = Device::open({{0, 0, 0}}, Hold::kShared);
    std::ifstream file(directory.path() + "/state.v1", std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(file), {});
  }
  require(good.size() == sizeof(State), "the state file");
  std::mt19937_64 random(7);
  for (int round = 0; round < 8; ++round) {
    const Directory directory;
    const int status = in_child([&] {
      const std::string path = directory.path() + "/host";
      require(mkdir(path.c_str(), 0700) == 0, "a directory");
      std::string bytes = good;
      const size_t from = offsetof(State, slots_used);
      for (size_t i = from; i < bytes.size(); ++i) {
        const bool some = round % 2 == 0 || random() % 64 == 0;
        if (some) bytes[i] = static_cast<char>(round < 2 ? 0xFF : random());
      }
      std::ofstream(path + "/state.v1", std::ios::binary) << bytes;
      configure(path, {{kDram, {}}, {kDram, {}}});
      look_at_everything();
      for (int turn = 0; turn < 20; ++turn) {
        try {
          const auto device = Device::open({{0, 0, 1}}, Hold::kExclusive);
          Placement placement(device, kCost);
          DeviceRun(placement, std::chrono::milliseconds(5)).succeeded();
        } catch (const DeviceError&) {  // faults that the garbage has armed
        }
      }
      look_at_everything();
    });
    require(status == 0, "a process with garbage in its state");
  }
}

void a_file_that_is_no_state_is_refused() {
  for (const std::string& bytes :
       {std::string("x"), std::string(sizeof(State), 'x'), std::string(sizeof(State) + 1, '\0')}) {
    const Directory directory;
    const std::string path = directory.path() + "/host";
    require(mkdir(path.c_str(), 0700) == 0, "a directory");
    std::ofstream(path + "/state.v1", std::ios::binary) << bytes;
    std::string said;
    try {
      Host::at(path);
    } catch (const DeviceError& error) {
      said = error.what();
    }
    require(said.find("delete it") != std::string::npos, "an error that says what to do");
  }
}

void faults_strike_as_often_as_they_are_armed() {
  SharedWord word{0};
  ArmedFaults faults(word);
  faults.arm(FURIOSA_FAULT_OVERHEAT, 1000);
  faults.arm(FURIOSA_FAULT_HANG, ArmedFaults::kForever);
  std::atomic<int> struck = 0;
  in_threads(4, [&](int) {
    for (int i = 0; i < 600; ++i) struck += faults.strike(FURIOSA_FAULT_OVERHEAT) ? 1 : 0;
  });
  require(struck == 1000 && faults.times(FURIOSA_FAULT_OVERHEAT) == 0, "a thousand times");
  require(faults.strike(FURIOSA_FAULT_HANG) && faults.times(FURIOSA_FAULT_HANG) == 1023, "always");
  faults.clear();
  require(!faults.strike(FURIOSA_FAULT_HANG), "not any more");
}

void a_hang_ends_with_its_time_or_a_reset() {
  const Directory directory;
  const auto device = Device::open({{0, 0, 0}}, Hold::kExclusive);
  Placement placement(device, kCost);
  for (const bool by_reset : {false, true}) {
    ArmedFaults(directory.host().pe(0).faults).arm(FURIOSA_FAULT_HANG, 1);
    std::atomic<int> timeouts = 0;
    std::thread resetting([&] {
      while (by_reset && directory.host().pe(0).health.load() == 0) std::this_thread::yield();
      if (by_reset) reset(directory.host(), 0);
    });
    in_threads(by_reset ? 1 : 4, [&](int) {
      try {
        DeviceRun run(placement, std::chrono::milliseconds(by_reset ? 60'000 : 100));
      } catch (const DeviceError& error) {
        timeouts += error.status() == FURIOSA_DEVICE_TIMEOUT ? 1 : 0;
      }
    });
    resetting.join();
    require(timeouts >= 1, "a timeout");
    reset(directory.host(), 0);
    DeviceRun(placement, kTimeout).succeeded();
  }
}

}  // namespace

void run() {
  no_more_than_there_are_places_are_admitted();
  who_comes_first_is_admitted_first();
  faults_strike_as_often_as_they_are_armed();
  what_a_process_holds_is_its_own();
  a_killed_process_leaves_nothing();
  dram_is_shared_by_processes();
  processes_race_for_a_new_host();
  garbage_in_the_state_does_no_harm();
  a_file_that_is_no_state_is_refused();
  threads_count_every_run();
  threads_open_and_close();
  a_hang_ends_with_its_time_or_a_reset();
}

}  // namespace furiosa::test

int main() {
  furiosa::test::run();
  std::puts("ok");
}
