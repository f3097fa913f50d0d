// The part of the C API that is about devices.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "device_emulator/native/api.h"
#include "device_emulator/native/devices/client.h"
#include "device_emulator/native/devices/configuration.h"
#include "device_emulator/native/devices/device_handle.h"
#include "device_emulator/native/devices/faults.h"
#include "device_emulator/native/devices/placed_run.h"

struct furiosa_placement {
  std::shared_ptr<const furiosa::Executable> executable;
  furiosa::Placement placement;
};

namespace {

using namespace furiosa;

constexpr size_t kFaults = FURIOSA_FAULT_OVERHEAT + 1;
static_assert(sizeof(furiosa_counters) == sizeof(Counters));
static_assert(sizeof(furiosa_client::command) == sizeof(ClientSlot::command));
static_assert(FURIOSA_ALWAYS == ArmedFaults::kForever);

std::shared_ptr<const Configuration> with_card(uint32_t card) {
  std::shared_ptr<const Configuration> configuration = current_configuration();
  if (card >= configuration->cards.size()) {
    throw DeviceError(FURIOSA_DEVICE_NOT_FOUND, "npu" + std::to_string(card) + ": there are " +
                                                    std::to_string(configuration->cards.size()) +
                                                    " cards");
  }
  return configuration;
}

uint32_t pe_index(uint32_t card, uint32_t pe) {
  if (pe >= kPesPerCard) throw DeviceError(FURIOSA_DEVICE_NOT_FOUND, "PEs are 0 and 1");
  return card * kPesPerCard + pe;
}

// The counters as numbers, and none of them below zero.
furiosa_counters read(const Counters& sums, const Counters* before = nullptr) {
  const auto get = [&](SharedWord Counters::* member) {
    const uint64_t sum = (sums.*member).load(std::memory_order_relaxed);
    const uint64_t base = before == nullptr ? 0 : (before->*member).load(std::memory_order_relaxed);
    return sum - std::min(sum, base);
  };
  return {get(&Counters::executions), get(&Counters::cycles),    get(&Counters::compute_cycles),
          get(&Counters::dma_cycles), get(&Counters::io_cycles), get(&Counters::bytes_in),
          get(&Counters::bytes_out),  get(&Counters::failures)};
}

void add(furiosa_counters& to, const furiosa_counters& more) {
  to.executions += more.executions;
  to.cycles += more.cycles;
  to.compute_cycles += more.compute_cycles;
  to.dma_cycles += more.dma_cycles;
  to.io_cycles += more.io_cycles;
  to.bytes_in += more.bytes_in;
  to.bytes_out += more.bytes_out;
  to.failures += more.failures;
}

}  // namespace

extern "C" {

furiosa_status furiosa_cards_configure(const char* directory, const furiosa_card* cards,
                                       size_t count) noexcept {
  return guarded([&] {
    require(cards != nullptr, "cards is NULL");
    std::vector<Card> made;
    for (const furiosa_card& card : std::span(cards, count)) {
      require(card.size >= sizeof(furiosa_card), "a card is too small");
      Card& copy = made.emplace_back(Card{card.dram_bytes, {}});
      for (size_t i = 0; i < card.metadata_count; ++i) {
        copy.metadata.emplace_back(card.keys[i], card.values[i]);
      }
    }
    configure(directory == nullptr ? "" : directory, std::move(made));
  });
}

size_t furiosa_card_count(void) noexcept {
  size_t count = 0;
  guarded([&] { count = current_configuration()->cards.size(); });
  return count;
}

furiosa_status furiosa_host_directory(char* path, size_t size) noexcept {
  return guarded([&] {
    const std::string& directory = current_configuration()->host.directory();
    require(path != nullptr && directory.size() < size, "no room for the path");
    std::memcpy(path, directory.c_str(), directory.size() + 1);
  });
}

furiosa_status furiosa_device_open(const furiosa_device_file* files, size_t count, uint32_t flags,
                                   furiosa_device** device) noexcept {
  return guarded([&] {
    require(device != nullptr, "device is NULL");
    *device = nullptr;
    require(files != nullptr || count == 0, "files is NULL");
    require(flags <= FURIOSA_DEVICE_SHARED, "unknown flags");
    std::vector<DeviceFile> wanted;
    for (const furiosa_device_file& file : std::span(files, count)) {
      wanted.push_back({file.card, file.first_pe, file.last_pe});
    }
    const Hold how = flags == FURIOSA_DEVICE_SHARED ? Hold::kShared : Hold::kExclusive;
    *device = new furiosa_device{Device::open(std::move(wanted), how)};
  });
}

void furiosa_device_close(furiosa_device* device) noexcept { delete device; }

furiosa_status furiosa_program_place(const furiosa_program* program, const furiosa_device* device,
                                     furiosa_placement** placement) noexcept {
  return guarded([&] {
    require(placement != nullptr, "placement is NULL");
    *placement = nullptr;
    require(program != nullptr && device != nullptr, "program or device is NULL");
    *placement = new furiosa_placement{program->executable,
                                       {device->device, run_cost(program->executable->program())}};
  });
}

void furiosa_placement_free(furiosa_placement* placement) noexcept { delete placement; }

furiosa_status furiosa_placement_run(furiosa_placement* placement, const void* const* inputs,
                                     size_t input_count, void* const* outputs, size_t output_count,
                                     double timeout) noexcept {
  return guarded([&] {
    require(placement != nullptr, "placement is NULL");
    require(inputs != nullptr || input_count == 0, "inputs is NULL");
    require(outputs != nullptr || output_count == 0, "outputs is NULL");
    require(timeout > 0, "timeout is not above 0");
    InlinePool pool;
    run_placed(*placement->executable, placement->placement, std::chrono::duration<double>(timeout),
               {inputs, input_count}, {outputs, output_count}, pool);
  });
}

furiosa_status furiosa_pe_status(uint32_t card, uint32_t pe, furiosa_pe* status) noexcept {
  return guarded([&] {
    require(status != nullptr && status->size >= sizeof(furiosa_pe), "status is too small");
    const auto configuration = with_card(card);
    Host& host = configuration->host;
    const uint32_t index = pe_index(card, pe);
    PeState& state = host.pe(index);
    *status = {};
    status->size = sizeof(furiosa_pe);
    status->health = std::min(state.health.load(), static_cast<uint32_t>(Health::kEccError));
    status->resets = state.resets.load();
    status->hold = static_cast<uint32_t>(host.own_hold(index));
    status->holder = host.holder(index, Hold::kExclusive);
    for (size_t fault = 0; fault < kFaults; ++fault) {
      status->armed[fault] =
          static_cast<uint32_t>(ArmedFaults(state.faults).times(static_cast<furiosa_fault>(fault)));
      status->struck[fault] = state.events[fault].load();
    }
    for (uint32_t slot = 0; slot < host.slots_used(); ++slot) {
      add(status->counters, read(host.slot(slot).sums[index]));
    }
  });
}

furiosa_status furiosa_clients(furiosa_client* clients, size_t capacity, size_t* count) noexcept {
  return guarded([&] {
    require(count != nullptr && (clients != nullptr || capacity == 0), "clients is NULL");
    const auto configuration = current_configuration();
    const Host& host = configuration->host;
    *count = 0;
    for (uint32_t slot = 0; slot < host.slots_used() && *count < capacity; ++slot) {
      const Client client = read_client(host.slot(slot));
      if (client.pid == 0 || !host.alive(slot)) continue;
      furiosa_client& to = clients[(*count)++];
      to = {};
      to.slot = slot;
      to.pid = client.pid;
      to.started = client.started;
      // Which replaces bytes by no more than one character each.
      const size_t size = std::min(client.command.size(), sizeof(to.command) - 1);
      std::memcpy(to.command, client.command.data(), size);
    }
  });
}

furiosa_status furiosa_client_usage(uint32_t slot, uint32_t card, uint32_t pe,
                                    furiosa_usage* usage) noexcept {
  return guarded([&] {
    require(usage != nullptr && usage->size >= sizeof(furiosa_usage), "usage is too small");
    const auto configuration = with_card(card);
    const uint32_t index = pe_index(card, pe);
    require(slot < kMaxClients, "no such slot");
    const ClientSlot& client = configuration->host.slot(slot);
    const uint8_t mode = client.modes[index].load();
    *usage = {sizeof(furiosa_usage), std::min<uint32_t>(mode, FURIOSA_HOLD_EXCLUSIVE),
              client.dram[card].load(), read(client.sums[index], &client.before[index])};
  });
}

furiosa_status furiosa_fault_inject(uint32_t card, uint32_t pe, furiosa_fault fault, uint32_t times,
                                    uint32_t flags) noexcept {
  return guarded([&] {
    require(static_cast<size_t>(fault) < kFaults, "no such fault");
    require(times <= FURIOSA_ALWAYS, "times is above FURIOSA_ALWAYS");
    require(flags <= FURIOSA_FAULT_OWN, "unknown flags");
    const auto configuration = with_card(card);
    const uint32_t index = pe_index(card, pe);
    Host& host = configuration->host;
    SharedWord& word =
        flags == FURIOSA_FAULT_OWN ? host.local(index).faults : host.pe(index).faults;
    ArmedFaults(word).arm(fault, times);
  });
}

furiosa_status furiosa_faults_clear(uint32_t card, uint32_t pe, uint32_t flags) noexcept {
  return guarded([&] {
    require(flags <= FURIOSA_FAULT_OWN, "unknown flags");
    const auto configuration = with_card(card);
    const uint32_t index = pe_index(card, pe);
    Host& host = configuration->host;
    ArmedFaults(flags == FURIOSA_FAULT_OWN ? host.local(index).faults : host.pe(index).faults)
        .clear();
  });
}

furiosa_status furiosa_pe_reset(uint32_t card, uint32_t pe) noexcept {
  return guarded([&] { reset(with_card(card)->host, pe_index(card, pe)); });
}

furiosa_status furiosa_card_thermal(uint32_t card, uint64_t* words, size_t count) noexcept {
  return guarded([&] {
    require(words != nullptr && count == kThermalWords, "expected 8 words");
    const auto configuration = with_card(card);
    std::ranges::copy(configuration->host.thermal(card), words);
  });
}

furiosa_status furiosa_card_exchange_thermal(uint32_t card, const uint64_t* expected,
                                             const uint64_t* desired, size_t count,
                                             int32_t* exchanged) noexcept {
  return guarded([&] {
    require(exchanged != nullptr, "exchanged is NULL");
    require(expected != nullptr && desired != nullptr && count == kThermalWords,
            "expected 8 words");
    const auto configuration = with_card(card);
    ThermalWords from, to;
    std::copy_n(expected, count, from.begin());
    std::copy_n(desired, count, to.begin());
    *exchanged = configuration->host.exchange_thermal(card, from, to);
  });
}

}  // extern "C"
