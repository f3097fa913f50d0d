// The C API: translates handles and exceptions, and does nothing else.

#include "device_emulator/native/api.h"
#include "device_emulator/native/checksum.h"
#include "device_emulator/native/executor.h"
#include "device_emulator/native/kernel_registry.h"
#include "device_emulator/native/profiling/session_profile.h"
#include "device_emulator/native/spinning_pool.h"
#include "furiosa_ep/include/furiosa_ep.h"
#include "kernels/native/isa.h"

namespace {

using furiosa::guarded;
using furiosa::require;

constexpr size_t kMostThreads = 1024;

furiosa_status describe(const std::vector<furiosa::Binding>& bindings, size_t index,
                        furiosa_binding* binding) noexcept {
  return guarded([&] {
    require(binding != nullptr, "binding is NULL");
    if (index >= bindings.size()) {
      throw furiosa::Error("index " + std::to_string(index) + ": expected less than " +
                           std::to_string(bindings.size()));
    }
    const furiosa::Binding& found = bindings[index];
    *binding = {found.name.c_str(), found.dims.data(), static_cast<uint32_t>(found.dims.size()),
                static_cast<uint32_t>(found.dtype), found.size};
  });
}

}  // namespace

extern "C" {

const char* furiosa_last_error(void) noexcept { return furiosa::last_error().c_str(); }

const char* furiosa_version(void) noexcept { return FURIOSA_EP_VERSION; }

const char* furiosa_isa_name(void) noexcept { return furiosa::isa_name(furiosa::active_isa()); }

const char* furiosa_isa_problem(void) noexcept { return furiosa::isa_problem(); }

furiosa_status furiosa_set_isa(const char* name) noexcept {
  return guarded([&] {
    if (!furiosa::force_isa(name)) {
      throw furiosa::Error(
          "instruction set '" + std::string(name) +
          "': expected one of scalar, avx2, avxvnni, avx512vnni, neon that this CPU "
          "has; its best is " +
          furiosa::isa_name(furiosa::detected_isa()));
    }
  });
}

uint64_t furiosa_checksum(const void* data, size_t size) noexcept {
  return furiosa::checksum({static_cast<const std::byte*>(data), size});
}

furiosa_status furiosa_program_load(const void* data, size_t size,
                                    furiosa_program** program) noexcept {
  return guarded([&] {
    require(program != nullptr, "program is NULL");
    *program = nullptr;
    require(data != nullptr, "data is NULL");
    furiosa::profiling::follow_environment();
    auto handle = std::make_unique<furiosa_program>();
    handle->executable = furiosa::Executable::load({static_cast<const std::byte*>(data), size});
    *program = handle.release();
  });
}

void furiosa_program_free(furiosa_program* program) noexcept { delete program; }

size_t furiosa_program_input_count(const furiosa_program* program) noexcept {
  return program->executable->program().inputs().size();
}

size_t furiosa_program_output_count(const furiosa_program* program) noexcept {
  return program->executable->program().outputs().size();
}

furiosa_status furiosa_program_input(const furiosa_program* program, size_t index,
                                     furiosa_binding* binding) noexcept {
  return describe(program->executable->program().inputs(), index, binding);
}

furiosa_status furiosa_program_output(const furiosa_program* program, size_t index,
                                      furiosa_binding* binding) noexcept {
  return describe(program->executable->program().outputs(), index, binding);
}

furiosa_status furiosa_program_run(const furiosa_program* program, const void* const* inputs,
                                   size_t input_count, void* const* outputs,
                                   size_t output_count) noexcept {
  return guarded([&] {
    require(inputs != nullptr || input_count == 0, "inputs is NULL");
    require(outputs != nullptr || output_count == 0, "outputs is NULL");
    furiosa::InlinePool pool;
    program->executable->run({inputs, input_count}, {outputs, output_count}, pool);
  });
}

size_t furiosa_program_command_count(const furiosa_program* program) noexcept {
  return program->executable->program().commands().size();
}

furiosa_status furiosa_program_profile(const furiosa_program* program, const void* const* inputs,
                                       size_t input_count, void* const* outputs,
                                       size_t output_count, size_t threads, size_t rounds,
                                       int64_t* nanoseconds) noexcept {
  return guarded([&] {
    require(inputs != nullptr || input_count == 0, "inputs is NULL");
    require(outputs != nullptr || output_count == 0, "outputs is NULL");
    require(nanoseconds != nullptr, "nanoseconds is NULL");
    require(1 <= threads && threads <= kMostThreads, "threads is not from 1 to 1024");
    const size_t commands = furiosa_program_command_count(program);
    furiosa::SpinningPool pool(threads);
    for (size_t round = 0; round < rounds; ++round, nanoseconds += commands) {
      program->executable->profile({inputs, input_count}, {outputs, output_count}, pool,
                                   {nanoseconds, commands});
    }
  });
}

furiosa_status furiosa_kernel_register(const furiosa_kernel* kernel) noexcept {
  return guarded([&] {
    require(kernel != nullptr, "kernel is NULL");
    furiosa::kernel_registry().add(*kernel);
  });
}

furiosa_status furiosa_kernel_unregister(const furiosa_kernel* kernel) noexcept {
  return guarded([&] {
    require(kernel != nullptr, "kernel is NULL");
    furiosa::kernel_registry().remove(*kernel);
  });
}

}  // extern "C"
