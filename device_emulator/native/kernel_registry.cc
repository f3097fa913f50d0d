#include "device_emulator/native/kernel_registry.h"

#include <algorithm>

#include "device_emulator/native/text.h"

namespace furiosa {
namespace {

constexpr size_t kMostOpcode = 128;  // bytes
constexpr size_t kMostSize = 4096;   // bytes of a furiosa_kernel of whatever later library
constexpr uint32_t kFlags = FURIOSA_KERNEL_STRIDED | FURIOSA_KERNEL_HOLDS_GIL;
constexpr std::string_view kDTypes[] = {"f32", "u8", "i8", "i16", "i32", "i64", "bool"};

std::string quoted(std::string_view text) {
  return std::string("'").append(valid_utf8(text)).append("'");
}

// "kernel 'K' of plugin 'P'".
std::string title(std::string_view opcode, std::string_view plugin) {
  return "kernel " + quoted(opcode) + " of plugin " + quoted(plugin);
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

bool is_name(std::string_view text) {
  return !text.empty() && is_letter(text[0]) &&
         std::ranges::all_of(text, [](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

bool is_built_in(std::string_view opcode) {
#define FURIOSA_OPCODE(number, NAME, operands, attributes) \
  if (opcode == #NAME) return true;
#include "furiosa_ep/include/furiosa_opcodes.def"
#undef FURIOSA_OPCODE
  return false;
}

// Whether `dtypes` are known ones with bars between them.
bool are_dtypes(std::string_view dtypes) {
  while (true) {
    const size_t bar = std::min(dtypes.find('|'), dtypes.size());
    if (std::ranges::find(kDTypes, dtypes.substr(0, bar)) == std::end(kDTypes)) return false;
    if (bar == dtypes.size()) return true;
    dtypes.remove_prefix(bar + 1);
  }
}

template <class Items>
bool are_different_names(const Items& items) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (!is_name(items[i].name)) return false;
    for (size_t k = 0; k < i; ++k) {
      if (items[k].name == items[i].name) return false;
    }
  }
  return true;
}

// Whether there is one word behind the only arrow.
bool has_one_result(std::string_view operands) {
  constexpr std::string_view kArrow = "-> ";
  const size_t arrow = operands.find(kArrow);
  if (arrow == std::string_view::npos) return false;
  const std::string_view result = operands.substr(arrow + kArrow.size());
  return !result.empty() && result.find(' ') == std::string_view::npos &&
         operands.find("->") == arrow;
}

OpcodeSchema checked_schema(const Kernel& kernel) {
  OpcodeSchema schema = parse_schema(kernel.opcode, kernel.operands, kernel.attributes);
  const bool known = std::ranges::all_of(schema.operands, [](const OpcodeSchema::Operand& operand) {
    return !operand.variadic && are_dtypes(operand.dtypes);
  });
  if (!has_one_result(kernel.operands) || !known || schema.operands.back().optional ||
      !are_different_names(schema.operands)) {
    throw Error(title(kernel.opcode, kernel.plugin) + ", operands " + quoted(kernel.operands) +
                ": expected such as 'x:u8 gamma:f32? -> y:u8|f32', with different names, "
                "the types f32, u8, i8, i16, i32, i64, bool, and one result");
  }
  if (!schema.variadic.empty() || !are_different_names(schema.attributes)) {
    throw Error(title(kernel.opcode, kernel.plugin) + ", attributes " + quoted(kernel.attributes) +
                ": expected such as 'axis epsilon:f', with different names");
  }
  return schema;
}

// Throws unless all that has no meaning to this library is as it should be.
void check_version(const furiosa_kernel& kernel) {
  if (kernel.size < sizeof kernel || kernel.size > kMostSize) {
    throw Error("kernel of " + std::to_string(kernel.size) +
                " bytes: expected sizeof(furiosa_kernel), " + std::to_string(sizeof kernel));
  }
  if (kernel.version != FURIOSA_KERNEL_VERSION) {
    throw Error("kernel of version " + std::to_string(kernel.version) +
                ": this library has version " + std::to_string(FURIOSA_KERNEL_VERSION) +
                "; build it with the header furiosa_ep.h of this version");
  }
  // Fields of a later header may be there as long as they say nothing.
  const auto* bytes = reinterpret_cast<const std::byte*>(&kernel);
  const bool clear = std::all_of(bytes + sizeof kernel, bytes + kernel.size,
                                 [](std::byte one) { return one == std::byte{0}; });
  if (!clear || kernel.reserved != 0) throw Error("kernel with fields that must be 0");
}

std::string_view text(const char* found, const char* field) {
  if (found == nullptr || *found == '\0') throw Error(std::string("kernel without ") + field);
  return found;
}

Isa checked_isa(const furiosa_kernel& kernel) {
  const std::string_view name = text(kernel.isa, "isa");
  if (const std::optional<Isa> isa = find_isa(name)) return *isa;
  throw Error(title(kernel.opcode, kernel.plugin) + ", isa " + quoted(name) +
              ": expected one of scalar, avx2, avxvnni, avx512vnni, neon");
}

// Whether a kernel for `isa` runs where the best that is allowed is `best`.
bool runs(Isa isa, Isa best) { return isa <= best && has_isa(isa); }

// A pointer that counts as a user for as long as it lives.
std::shared_ptr<const Kernel> in_use(const std::shared_ptr<const Kernel>& kernel) {
  kernel->users.fetch_add(1, std::memory_order_relaxed);
  return {kernel.get(),
          [kernel](const Kernel* used) { used->users.fetch_sub(1, std::memory_order_release); }};
}

}  // namespace

Kernel::Kernel(const furiosa_kernel& kernel)
    : plugin(text(kernel.plugin, "plugin")),
      opcode(text(kernel.opcode, "opcode")),
      operands(text(kernel.operands, "operands")),
      attributes(kernel.attributes == nullptr ? "" : kernel.attributes),
      isa(checked_isa(kernel)),
      flags(kernel.flags),
      run(kernel.run),
      schema(checked_schema(*this)) {
  const std::string name = title(opcode, plugin);
  if (valid_utf8(plugin) != plugin) throw Error(name + ": the plugin's name is not UTF-8");
  if (!is_name(opcode) || opcode.size() > kMostOpcode) {
    throw Error(name + ": expected an opcode of up to " + std::to_string(kMostOpcode) +
                " letters, digits and underscores");
  }
  if (is_built_in(opcode)) throw Error(name + ": the NPU itself has an opcode of this name");
  if ((flags & ~kFlags) != 0) throw Error(name + ": unknown flags " + std::to_string(flags));
  if (run == nullptr) throw Error(name + ": run is NULL");
}

void KernelRegistry::add(const furiosa_kernel& kernel) {
  check_version(kernel);
  const auto added = std::make_shared<const Kernel>(kernel);
  const std::string name = title(added->opcode, added->plugin);
  const std::lock_guard lock(mutex_);
  Variants& variants = kernels_[added->opcode];
  if (!variants.empty()) {
    const Kernel& known = *variants.begin()->second;
    if (known.plugin != added->plugin) {
      throw Error(name + ": plugin " + quoted(known.plugin) + " has registered this opcode");
    }
    if (variants.contains(added->isa)) {
      throw Error(name + ": plugin " + quoted(known.plugin) + " has registered it for " +
                  isa_name(added->isa) + " before");
    }
    if (known.operands != added->operands || known.attributes != added->attributes ||
        known.strided() != added->strided()) {
      throw Error(name + " for " + isa_name(added->isa) +
                  ": operands, attributes or FURIOSA_KERNEL_STRIDED are other than for " +
                  isa_name(known.isa));
    }
  }
  variants.emplace(added->isa, added);
}

void KernelRegistry::remove(const furiosa_kernel& kernel) {
  check_version(kernel);
  const std::string_view plugin = text(kernel.plugin, "plugin");
  const std::string_view opcode = text(kernel.opcode, "opcode");
  const Isa isa = checked_isa(kernel);
  const std::lock_guard lock(mutex_);
  const auto variants = kernels_.find(opcode);
  const auto missing = [&] {
    return Error(title(opcode, plugin) + " is not registered for " + isa_name(isa));
  };
  if (variants == kernels_.end()) throw missing();
  const auto found = variants->second.find(isa);
  if (found == variants->second.end() || found->second->plugin != plugin) throw missing();
  // What its users did comes before what our caller does next, such as to unload its code.
  if (const size_t users = found->second->users.load(std::memory_order_acquire); users > 0) {
    throw Error(title(opcode, plugin) + " is in use by " + std::to_string(users) +
                " commands of Programs that are loaded; free them first");
  }
  variants->second.erase(found);
  if (variants->second.empty()) kernels_.erase(variants);
}

std::shared_ptr<const Kernel> KernelRegistry::find(std::string_view opcode) const {
  const Isa best = active_isa();
  const std::lock_guard lock(mutex_);
  const auto variants = kernels_.find(opcode);
  if (variants == kernels_.end() || variants->second.empty()) {
    throw Error("no kernel " + quoted(opcode) +
                " is registered: install the plugin that has it, and see that FURIOSA_PLUGINS and "
                "FURIOSA_DISABLE_PLUGINS let it in (furiosa plugins list)");
  }
  for (auto one = variants->second.rbegin(); one != variants->second.rend(); ++one) {
    if (runs(one->first, best)) return in_use(one->second);
  }
  const Kernel& first = *variants->second.begin()->second;
  throw Error(title(opcode, first.plugin) + " needs " + isa_name(first.isa) + ": " +
              isa_name(best) + " is the best here");
}

KernelRegistry& kernel_registry() {
  static KernelRegistry registry;
  return registry;
}

}  // namespace furiosa
