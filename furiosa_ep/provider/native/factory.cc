// The entry points of the plugin and the factory of its providers.

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "device_emulator/native/devices/configuration.h"
#include "furiosa_ep/include/furiosa_ep.h"
#include "furiosa_ep/provider/native/custom_ops.h"
#include "furiosa_ep/provider/native/execution_provider.h"

namespace furiosa {
namespace {

constexpr char kVendor[] = "FuriosaAI";

constexpr uint32_t kPciVendor = 0x1ed2;  // FuriosaAI, Inc.

// One registration of the library. Its providers keep it, as sessions may outlive it.
class Factory final : public ort::EpFactory, public std::enable_shared_from_this<Factory> {
 public:
  explicit Factory(const Ort& ort) : ort::EpFactory{}, ort_(ort) {
    version = ort.version;
    GetName = [](const ort::EpFactory*) noexcept -> ort::CString { return kProviderName; };
    GetVendor = [](const ort::EpFactory*) noexcept -> ort::CString { return kVendor; };
    GetVendorId = [](const ort::EpFactory*) noexcept { return kPciVendor; };
    GetVersion = [](const ort::EpFactory*) noexcept -> ort::CString { return FURIOSA_EP_VERSION; };
    GetSupportedDevices = [](ort::EpFactory* self, const ort::HardwareDevice* const*, size_t,
                             ort::EpDevice** devices, size_t capacity, size_t* count) noexcept {
      auto& factory = static_cast<Factory&>(*self);
      return factory.ort_.guard([&] { *count = factory.list_devices(devices, capacity); });
    };
    CreateEp = [](ort::EpFactory* self, const ort::HardwareDevice* const* devices,
                  const ort::KeyValuePairs* const*, size_t count,
                  const ort::SessionOptions* options, const ort::Logger* logger,
                  ort::Ep** ep) noexcept {
      auto& factory = static_cast<Factory&>(*self);
      return factory.ort_.guard([&] {
        std::vector<uint32_t> cards;
        for (const ort::HardwareDevice* device : std::span(devices, count)) {
          cards.push_back(factory.ort_.api[ort::kHardwareDeviceId](device));
        }
        *ep =
            new ExecutionProvider(factory.shared_from_this(), factory.ort_, cards, options, logger);
      });
    };
    ReleaseEp = [](ort::EpFactory*, ort::Ep* ep) noexcept {
      delete static_cast<ExecutionProvider*>(ep);
    };
    CreateAllocator = [](ort::EpFactory*, const ort::MemoryInfo*, const ort::KeyValuePairs*,
                         ort::Allocator** allocator) noexcept -> ort::Status* {
      *allocator = nullptr;
      return nullptr;
    };
    ReleaseAllocator = [](ort::EpFactory*, ort::Allocator*) noexcept {};
    CreateDataTransfer = [](ort::EpFactory*,
                            ort::DataTransfer** transfer) noexcept -> ort::Status* {
      *transfer = nullptr;
      return nullptr;
    };
    IsStreamAware = [](const ort::EpFactory*) noexcept { return false; };
    GetNumCustomOpDomains = [](ort::EpFactory* self, size_t* count) noexcept {
      auto& factory = static_cast<Factory&>(*self);
      return factory.ort_.guard(
          [&] { *count = compiler::installed() ? custom_op_domains(factory.ort_).size() : 0; });
    };
    GetCustomOpDomains = [](ort::EpFactory* self, ort::CustomOpDomain** domains,
                            size_t count) noexcept {
      auto& factory = static_cast<Factory&>(*self);
      return factory.ort_.guard([&] {
        // Plugins may have changed since it was asked for their number; null ones are skipped.
        std::fill_n(domains, count, nullptr);
        if (count == 0) return;
        const auto found = custom_op_domains(factory.ort_);
        std::copy_n(found.data(), std::min(found.size(), count), domains);
      });
    };
  }

  ~Factory() {
    for (ort::HardwareDevice* device : devices_) ort_.ep_api[ort::kReleaseHardwareDevice](device);
  }

  Factory(const Factory&) = delete;
  Factory& operator=(const Factory&) = delete;

  // Shared by the registration, which ReleaseEpFactory ends, and by the providers.
  std::shared_ptr<Factory> registration;

 private:
  // There is no hardware to find, so each card is a virtual device, as many as there is room for.
  size_t list_devices(ort::EpDevice** devices, size_t capacity) {
    const std::vector<Card>& cards = current_configuration()->cards;
    const size_t count = std::min(capacity, cards.size());
    for (size_t card = 0; card < count; ++card) {
      KeyValuePairs metadata(ort_);
      metadata.add("is_virtual", "1");
      metadata.add("Description", "FuriosaAI Warboy (emulated)");
      for (const auto& [key, value] : cards[card].metadata) {
        metadata.add(key.c_str(), value.c_str());
      }
      ort::HardwareDevice* device = nullptr;
      ort_.check(ort_.ep_api[ort::kCreateHardwareDevice](ort::HardwareType::kNpu, kPciVendor,
                                                         static_cast<uint32_t>(card), kVendor,
                                                         metadata.get(), &device));
      devices_.push_back(device);
      ort_.check(
          ort_.ep_api[ort::kCreateEpDevice](this, device, metadata.get(), nullptr, &devices[card]));
    }
    return count;
  }

  const Ort ort_;
  std::vector<ort::HardwareDevice*> devices_;
};

}  // namespace
}  // namespace furiosa

extern "C" {

__attribute__((visibility("default"))) furiosa::ort::Status* CreateEpFactories(
    const char*, const furiosa::ort::ApiBase* base, const furiosa::ort::Logger*,
    furiosa::ort::EpFactory** factories, size_t capacity, size_t* count) noexcept {
  using namespace furiosa;
  *count = 0;
  std::string problem;
  const Ort ort = Ort::connect(base, problem);
  if (ort.version == 0) return nullptr;  // not even an error can be made
  if (!problem.empty()) return ort.make_status(ort::ErrorCode::kFail, problem.c_str());
  if (capacity == 0)
    return ort.make_status(ort::ErrorCode::kInvalidArgument, "no room for a factory");
  return ort.guard([&] {
    auto factory = std::make_shared<Factory>(ort);
    factory->registration = factory;
    factories[0] = factory.get();
    *count = 1;
  });
}

__attribute__((visibility("default"))) furiosa::ort::Status* ReleaseEpFactory(
    furiosa::ort::EpFactory* factory) noexcept {
  const auto ended = std::move(static_cast<furiosa::Factory*>(factory)->registration);
  return nullptr;
}

// SessionOptions.register_custom_ops_library calls it.
__attribute__((visibility("default"))) furiosa::ort::Status* RegisterCustomOps(
    furiosa::ort::SessionOptions* options, const furiosa::ort::ApiBase* base) noexcept {
  using namespace furiosa;
  std::string problem;
  const Ort ort = Ort::connect(base, problem);
  if (ort.version == 0) return nullptr;  // not even an error can be made
  if (!problem.empty()) return ort.make_status(ort::ErrorCode::kFail, problem.c_str());
  return ort.guard([&] { add_custom_op_domains(ort, options); });
}

}  // extern "C"
