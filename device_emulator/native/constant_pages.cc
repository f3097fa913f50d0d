#include "device_emulator/native/constant_pages.h"

#include <algorithm>

namespace furiosa {

ConstantPages::ConstantPages(const Program& program)
    : program_(program),
      last_((program.constants().size() + ConstantMemory::page_size() - 1) /
            ConstantMemory::page_size()) {
  for (size_t i = 0; i < program.commands().size(); ++i) {
    for (const uint32_t operand : program.commands()[i].operands) {
      const Pages pages = pages_of(operand);
      std::fill(last_.begin() + static_cast<ptrdiff_t>(pages.first),
                last_.begin() + static_cast<ptrdiff_t>(pages.end), static_cast<uint32_t>(i));
    }
  }
}

void ConstantPages::prepared(size_t index, const Command& command) {
  const std::span<const uint32_t> operands = program_.commands()[index].operands;
  for (size_t k = 0; k < operands.size(); ++k) {
    if (!command.reads_constant(k)) continue;
    const Pages pages = pages_of(operands[k]);
    std::fill(last_.begin() + static_cast<ptrdiff_t>(pages.first),
              last_.begin() + static_cast<ptrdiff_t>(pages.end), kAtRun);
  }
  for (const uint32_t operand : operands) {
    const Pages pages = pages_of(operand);
    size_t first = pages.first;
    for (size_t page = pages.first; page <= pages.end; ++page) {
      if (page < pages.end && last_[page] == index) continue;
      if (page > first) program_.release_constants(first, page - first);
      first = page + 1;
    }
  }
}

ConstantPages::Pages ConstantPages::pages_of(uint32_t operand) const {
  if (operand == kAbsent) return {0, 0};
  const Tensor& tensor = program_.tensor(operand);
  if (tensor.storage != Storage::kConstant) return {0, 0};
  const Tensor::Extent extent = tensor.extent();
  if (extent.begin == extent.end) return {0, 0};
  const size_t page = ConstantMemory::page_size();
  return {extent.begin / page, (extent.end + page - 1) / page};
}

}  // namespace furiosa
