#include "device_emulator/native/executor.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <new>
#include <thread>

#include "device_emulator/native/command.h"
#include "device_emulator/native/constant_pages.h"
#include "device_emulator/native/profiling/recorder.h"

namespace furiosa {
namespace {

size_t align(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

Prepare find_prepare(Opcode opcode) {
  switch (opcode) {
#define FURIOSA_OPCODE(number, NAME, operands, attributes) \
  case Opcode::NAME:                                       \
    return &prepare<Opcode::NAME>;
#include "furiosa_ep/include/furiosa_opcodes.def"
#undef FURIOSA_OPCODE
  }
  return nullptr;
}

// The memory of one run: the arena, the scratch space and the address of every storage.
struct Workspace {
  struct Release {
    void operator()(std::byte* block) const {
      ::operator delete(block, std::align_val_t{kAlignment});
    }
  };

  Workspace(size_t size, size_t bases)
      : block(static_cast<std::byte*>(::operator new(size, std::align_val_t{kAlignment}))),
        bases(bases) {}

  std::unique_ptr<std::byte, Release> block;
  std::vector<std::byte*> bases;
};

using Commands = std::vector<std::unique_ptr<Command>>;

// Runs commands and notes when: at the beginning, and after each.
void run_timed(const Commands& commands, const RunContext& context, std::vector<int64_t>& times) {
  times.reserve(commands.size() + 1);
  times.push_back(profiling::now());
  for (const std::unique_ptr<Command>& command : commands) {
    command->run(context);
    times.push_back(profiling::now());
  }
}

}  // namespace

class Executable::Impl {
 public:
  explicit Impl(Program program) : program_(std::move(program)) {
    ConstantPages pages(program_);
    commands_.reserve(program_.commands().size());
    for (const CommandRecord& record : program_.commands()) {
      commands_.push_back(find_prepare(record.opcode)(program_, record));
      scratch_size_ = std::max(scratch_size_, align(commands_.back()->scratch_size()));
      pages.prepared(commands_.size() - 1, *commands_.back());
    }
    addresses_.reserve(program_.tensors().size());
    for (const Tensor& tensor : program_.tensors()) {
      addresses_.push_back({base_of(tensor), tensor.offset});
    }
    idle_.reserve(max_idle_);
  }
  ~Impl() { delete spare_.load(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // Calls execute(commands, context) for a run with these buffers.
  template <class Execute>
  void run(std::span<const void* const> inputs, std::span<void* const> outputs, ThreadPool& pool,
           Execute execute) const {
    check(inputs, program_.inputs(), "inputs");
    check(outputs, program_.outputs(), "outputs");
    Lease workspace(*this);
    std::byte* const arena = workspace->block.get();
    std::byte** base = workspace->bases.data();
    *base++ = arena;
    *base++ = const_cast<std::byte*>(program_.constants().data());
    for (const void* input : inputs) {
      *base++ = static_cast<std::byte*>(const_cast<void*>(input));
    }
    for (void* output : outputs) *base++ = static_cast<std::byte*>(output);
    const RunContext context(addresses_.data(), workspace->bases.data(),
                             arena + align(program_.arena_size()), pool);
    execute(commands_, context);
  }

  const Program& program() const { return program_; }

  std::shared_ptr<const profiling::Outline> outline() const {
    std::call_once(outlined_,
                   [&] { outline_ = std::make_shared<const profiling::Outline>(program_); });
    return outline_;
  }

 private:
  // A workspace for the duration of a run, from those that earlier runs left.
  class Lease {
   public:
    explicit Lease(const Impl& owner) : owner_(owner), workspace_(owner.acquire()) {}
    ~Lease() { owner_.release(std::move(workspace_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Workspace* operator->() const { return workspace_.get(); }

   private:
    const Impl& owner_;
    std::unique_ptr<Workspace> workspace_;
  };

  template <class Pointer>
  static void check(std::span<Pointer const> buffers, const std::vector<Binding>& bindings,
                    const char* what) {
    if (buffers.size() != bindings.size()) {
      throw Error(std::to_string(buffers.size()) + " " + what + ": expected " +
                  std::to_string(bindings.size()));
    }
    for (size_t i = 0; i < buffers.size(); ++i) {
      if (buffers[i] == nullptr && bindings[i].size > 0) {
        throw Error(std::string(what) + "[" + std::to_string(i) + "] '" + bindings[i].name +
                    "' is null");
      }
    }
  }

  uint32_t base_of(const Tensor& tensor) const {
    switch (tensor.storage) {
      case Storage::kArena:
        return 0;
      case Storage::kConstant:
        return 1;
      case Storage::kInput:
        return 2 + tensor.index;
      case Storage::kOutput:
        break;
    }
    return static_cast<uint32_t>(2 + program_.inputs().size()) + tensor.index;
  }

  std::unique_ptr<Workspace> acquire() const {
    if (Workspace* const spare = spare_.exchange(nullptr, std::memory_order_acquire)) {
      return std::unique_ptr<Workspace>(spare);
    }
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Workspace> workspace = std::move(idle_.back());
        idle_.pop_back();
        return workspace;
      }
    }
    return std::make_unique<Workspace>(align(program_.arena_size()) + scratch_size_,
                                       2 + program_.inputs().size() + program_.outputs().size());
  }

  void release(std::unique_ptr<Workspace> workspace) const {
    Workspace* none = nullptr;
    if (spare_.compare_exchange_strong(none, workspace.get(), std::memory_order_release,
                                       std::memory_order_relaxed)) {
      static_cast<void>(workspace.release());  // which spare_ owns now
      return;
    }
    const std::lock_guard lock(mutex_);
    if (idle_.size() < max_idle_) idle_.push_back(std::move(workspace));
  }

  const Program program_;
  Commands commands_;
  std::vector<RunContext::Address> addresses_;
  size_t scratch_size_ = 0;
  // More concurrent runs than processors are served too, but their workspaces are not kept.
  const size_t max_idle_ = std::max(1u, std::thread::hardware_concurrency()) - 1;
  // One of them costs a run two atomic operations; more are kept under a lock.
  mutable std::atomic<Workspace*> spare_{nullptr};
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;
  mutable std::once_flag outlined_;
  mutable std::shared_ptr<const profiling::Outline> outline_;
};

Executable::Executable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Executable::~Executable() = default;

std::shared_ptr<const Executable> Executable::load(std::span<const std::byte> program) {
  return std::shared_ptr<const Executable>(
      new Executable(std::make_unique<Impl>(Program::parse(program))));
}

std::shared_ptr<const Executable> Executable::load(std::span<const std::byte> head,
                                                   ConstantMemory constants) {
  return std::shared_ptr<const Executable>(
      new Executable(std::make_unique<Impl>(Program::parse(head, std::move(constants)))));
}

void Executable::run(std::span<const void* const> inputs, std::span<void* const> outputs,
                     ThreadPool& pool, const profiling::Origin& origin) const {
  if (profiling::attached()) [[unlikely]] {
    const profiling::Sinks sinks = profiling::sinks_of(origin.session);
    if (!sinks.empty()) {
      return impl_->run(inputs, outputs, pool, [&](const Commands& commands, const auto& context) {
        std::vector<int64_t> times;
        try {
          run_timed(commands, context, times);
        } catch (const std::exception& error) {
          times.push_back(profiling::now());
          profiling::record_failure(sinks, origin, impl_->outline(), std::move(times),
                                    error.what());
          throw;
        }
        profiling::record_run(sinks, origin, impl_->outline(), std::move(times));
      });
    }
  }
  impl_->run(inputs, outputs, pool, [](const Commands& commands, const RunContext& context) {
    for (const std::unique_ptr<Command>& command : commands) command->run(context);
  });
}

void Executable::record_failure(const profiling::Origin& origin, int64_t start,
                                const char* error) const {
  const profiling::Sinks sinks = profiling::sinks_of(origin.session);
  if (!sinks.empty()) profiling::record_failure(sinks, origin, impl_->outline(), {start}, error);
}

void Executable::profile(std::span<const void* const> inputs, std::span<void* const> outputs,
                         ThreadPool& pool, std::span<int64_t> nanoseconds) const {
  if (nanoseconds.size() != program().commands().size()) throw Error("one time for each command");
  std::vector<int64_t> times;
  impl_->run(inputs, outputs, pool, [&](const Commands& commands, const RunContext& context) {
    run_timed(commands, context, times);
  });
  std::transform(times.begin() + 1, times.end(), times.begin(), nanoseconds.begin(),
                 std::minus<>());
}

const Program& Executable::program() const { return impl_->program(); }

}  // namespace furiosa
