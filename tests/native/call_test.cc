// Kernels of plugins: what is registered and what is refused, what a kernel sees of its frame, what
// becomes of its failures, and which of several variants is called, by several threads at once.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>

#include "device_emulator/native/executor.h"
#include "device_emulator/native/kernel_registry.h"
#include "device_emulator/native/text.h"
#include "tests/native/samples.h"

namespace furiosa::test {
namespace {

using Function = furiosa_kernel_function;

void require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
  std::exit(1);
}

// Requires that `body` throws an Error with `reason` in it.
void require_error(const char* reason, const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    const std::string text = error.what();
    require(text.find(reason) != std::string::npos,
            "expected '" + std::string(reason) + "' in '" + text + "'");
    return;
  }
  require(false, "expected an error with '" + std::string(reason) + "'");
}

int32_t succeed(const furiosa_kernel_frame*) { return 0; }

furiosa_kernel make_kernel(const char* opcode, Function run = &succeed) {
  furiosa_kernel kernel{};
  kernel.size = sizeof kernel;
  kernel.version = FURIOSA_KERNEL_VERSION;
  kernel.plugin = "tester";
  kernel.opcode = opcode;
  kernel.operands = "x:u8 -> y:u8";
  kernel.attributes = "";
  kernel.isa = "scalar";
  kernel.run = run;
  return kernel;
}

// A kernel that is registered for as long as this lives.
class Registered {
 public:
  explicit Registered(const furiosa_kernel& kernel) : kernel_(kernel) {
    kernel_registry().add(kernel_);
  }
  ~Registered() { kernel_registry().remove(kernel_); }

 private:
  furiosa_kernel kernel_;
};

constexpr int64_t kElements = 6;

// One CALL of a kernel with the operands "x:u8 -> y:u8" on an input and an output of 6 bytes.
Bytes one_call(const char* opcode, uint64_t workspace = 0) {
  ProgramBuilder b;
  const uint32_t x = b.input(DType::kU8, {kElements});
  const uint32_t y = b.output(DType::kU8, {kElements});
  b.command(Opcode::CALL, {b.text(opcode), x, y}, call_words(workspace, 2));
  return b.finish();
}

Bytes run_once(const Executable& executable, uint8_t first = 0) {
  Bytes x(kElements), y(kElements);
  for (std::byte& one : x) one = std::byte{first++};
  const void* input = x.data();
  void* output = y.data();
  InlinePool pool;
  executable.run({&input, 1}, {&output, 1}, pool);
  return y;
}

void unsound_kernels_are_refused() {
  const auto refused = [](const char* reason, const std::function<void(furiosa_kernel&)>& change) {
    furiosa_kernel kernel = make_kernel("TEST_REFUSED");
    change(kernel);
    require_error(reason, [&] { kernel_registry().add(kernel); });
  };
  refused("kernel of 8 bytes", [](auto& k) { k.size = 8; });
  refused("kernel of 4294967295 bytes", [](auto& k) { k.size = UINT32_MAX; });
  refused("version 2: this library has version 1", [](auto& k) { k.version = 2; });
  refused("must be 0", [](auto& k) { k.reserved = 1; });
  refused("without plugin", [](auto& k) { k.plugin = ""; });
  refused("is not UTF-8", [](auto& k) { k.plugin = "\xFFname"; });
  refused("without opcode", [](auto& k) { k.opcode = nullptr; });
  refused("kernel 'TEST KERNEL' of plugin 'tester'", [](auto& k) { k.opcode = "TEST KERNEL"; });
  refused("letters, digits", [](auto& k) { k.opcode = "0TEST"; });
  const std::string long_opcode(129, 'A');
  refused("128 letters", [&](auto& k) { k.opcode = long_opcode.c_str(); });
  refused("the NPU itself", [](auto& k) { k.opcode = "CONV"; });
  refused("without isa", [](auto& k) { k.isa = nullptr; });
  refused("isa 'sse': expected one of scalar", [](auto& k) { k.isa = "sse"; });
  refused("unknown flags 4", [](auto& k) { k.flags = 4; });
  refused("run is NULL", [](auto& k) { k.run = nullptr; });
  refused("without operands", [](auto& k) { k.operands = nullptr; });
  for (const char* operands : {"x:u8",
                               "x:u8 y:u8",
                               "->",
                               "-> ",
                               "x:u8 ->",
                               "x:u8 -> y:u8 z:u8",
                               "x:u8 -> y:u8?",
                               "x:u9 -> y:u8",
                               "x:u8| -> y:u8",
                               "x: -> y:u8",
                               "x -> y:u8",
                               "x:any -> y:u8",
                               "x:u8... -> y:u8",
                               "x:u8 x:u8 -> y:u8",
                               "x:u8  -> y:u8",
                               "0:u8 -> y:u8",
                               ":u8 -> y:u8",
                               "x:u8 -> -> y:u8",
                               "x:u8 ->y:u8",
                               " x:u8 -> y:u8",
                               "x:u8 -> y:u8 "}) {
    refused("expected such as 'x:u8", [&](auto& k) { k.operands = operands; });
  }
  for (const char* attributes : {"axis axis", "axis:g", "axis[]", "axis  epsilon", ":f", "1"}) {
    refused("expected such as 'axis", [&](auto& k) { k.attributes = attributes; });
  }
}

void larger_descriptions_are_taken_if_the_rest_is_zero() {
  struct Later {
    furiosa_kernel kernel;
    uint64_t more;
  };
  Later later{make_kernel("TEST_LATER"), 0};
  later.kernel.size = sizeof later;
  kernel_registry().add(later.kernel);
  kernel_registry().remove(later.kernel);
  later.more = 1;
  require_error("must be 0", [&] { kernel_registry().add(later.kernel); });
}

void an_opcode_belongs_to_one_plugin() {
  const furiosa_kernel kernel = make_kernel("TEST_OWNED");
  const Registered registered(kernel);
  require_error("plugin 'tester' has registered it for scalar before",
                [&] { kernel_registry().add(kernel); });
  furiosa_kernel other = kernel;
  other.plugin = "other";
  other.isa = "avx2";
  require_error("kernel 'TEST_OWNED' of plugin 'other': plugin 'tester' has registered",
                [&] { kernel_registry().add(other); });
  require_error("of plugin 'other' is not registered", [&] { kernel_registry().remove(other); });
  furiosa_kernel variant = kernel;
  variant.isa = "avx2";
  variant.flags = FURIOSA_KERNEL_STRIDED;
  require_error("are other than for scalar", [&] { kernel_registry().add(variant); });
  variant.flags = FURIOSA_KERNEL_HOLDS_GIL;
  const Registered twice(variant);
}

void the_best_variant_is_called() {
  const char* const best = isa_name(detected_isa());
  if (detected_isa() == Isa::kScalar) return;
  const auto plain = [](const furiosa_kernel_frame* frame) { return furiosa_fail(frame, "plain"); };
  const auto fast = [](const furiosa_kernel_frame* frame) { return furiosa_fail(frame, "fast"); };
  furiosa_kernel kernel = make_kernel("TEST_VARIANTS", plain);
  const Registered scalar(kernel);
  kernel.isa = best;
  kernel.run = fast;
  const Registered vectors(kernel);
  // One that the CPU lacks is never taken, though others that it has come after it.
  kernel.isa = detected_isa() == Isa::kNeon ? "avx2" : "neon";
  const Registered elsewhere(kernel);
  const auto called = [&](const char* isa, const char* text) {
    require(force_isa(isa), "an instruction set of this CPU");
    const auto executable = Executable::load(one_call("TEST_VARIANTS"));
    force_isa(nullptr);
    require_error(text, [&] { run_once(*executable); });
  };
  called("scalar", "plain");
  called(best, "fast");
  const Registered only([&] {
    furiosa_kernel one = make_kernel("TEST_VECTORS_ONLY");
    one.isa = best;
    return one;
  }());
  force_isa("scalar");
  require_error("kernel 'TEST_VECTORS_ONLY' of plugin 'tester' needs ",
                [&] { Executable::load(one_call("TEST_VECTORS_ONLY")); });
  force_isa(nullptr);
}

// Fails with what is wrong with the frame of every_part_of_the_frame().
int32_t check_frame(const furiosa_kernel_frame* frame) {
  const auto expect = [&](bool condition, const char* what) {
    if (!condition && frame->error[0] == '\0') furiosa_fail(frame, what);
  };
  expect(frame->version == FURIOSA_KERNEL_VERSION && frame->size == sizeof *frame, "version");
  expect(frame->input_count == 3 && frame->output_count == 1, "counts");
  const furiosa_tensor &a = frame->inputs[0], &b = frame->inputs[1], &c = frame->inputs[2];
  const furiosa_tensor& y = frame->outputs[0];
  expect(a.dtype == FURIOSA_F32 && a.rank == 2 && a.dims[0] == 2 && a.dims[1] == 3, "a");
  expect(a.strides[0] == 1 && a.strides[1] == -2, "strides of a");
  expect(static_cast<const float*>(a.data)[-4] == 1.5f, "values of a");
  expect(a.scale == 0.5f && a.zero_point == 3, "quantization of a");
  expect(b.data == nullptr && b.dtype == 0 && b.rank == 0, "b is absent");
  expect(c.data != nullptr && c.dtype == FURIOSA_I64 && c.rank == 1 && c.dims[0] == 0,
         "c is empty");
  expect(y.dtype == FURIOSA_BOOL && y.rank == 0, "y");
  expect(frame->attribute_count == 2 && frame->attributes[0].integer == -7, "an integer");
  expect(frame->attributes[1].real == 1e-300, "a real");
  expect(frame->workspace_size == 100, "size of the workspace");
  expect(reinterpret_cast<uintptr_t>(frame->workspace) % kAlignment == 0, "alignment");
  std::memset(frame->workspace, 0xA5, frame->workspace_size);
  expect(frame->concurrency == 1, "concurrency");
  size_t sum = 0;
  const auto add = [](void* context, size_t i) { *static_cast<size_t*>(context) += i + 1; };
  for (const size_t count : {0, 1, 4}) frame->parallel_for(frame, count, add, &sum);
  expect(sum == 0 + 1 + 10, "tasks");
  *static_cast<uint8_t*>(y.data) = 1;
  return frame->error[0] == '\0' ? 0 : 1;
}

void every_part_of_the_frame() {
  furiosa_kernel kernel = make_kernel("TEST_FRAME", check_frame);
  kernel.operands = "a:f32 b:u8? c:i64|i32 -> y:bool";
  kernel.attributes = "number epsilon:f";
  kernel.flags = FURIOSA_KERNEL_STRIDED;
  const Registered registered(kernel);
  ProgramBuilder b;
  b.input(DType::kF32, {6});
  const uint32_t a = b.view(DType::kF32, Storage::kInput, {2, 3}, 16, 0, {1, -2});
  const uint32_t c = b.input(DType::kI64, {0});
  const uint32_t y = b.output(DType::kBool, {});
  b.command(Opcode::CALL, {b.text("TEST_FRAME"), a, kAbsent, c, y},
            call_words(100, 4, {word(-7), std::bit_cast<uint64_t>(1e-300)}));
  const auto executable = Executable::load(b.finish());
  const float values[6] = {1.5f};
  const void* inputs[] = {values, nullptr};
  uint8_t result = 0;
  void* output = &result;
  InlinePool pool;
  executable->run(inputs, {&output, 1}, pool);
  require(result == 1, "the kernel writes its result");
}

void results_without_elements_need_no_kernel() {
  const Registered registered(make_kernel("TEST_EMPTY", [](const furiosa_kernel_frame* frame) {
    return furiosa_fail(frame, "it was called");
  }));
  ProgramBuilder b;
  const uint32_t x = b.input(DType::kU8, {0}), y = b.output(DType::kU8, {0});
  b.command(Opcode::CALL, {b.text("TEST_EMPTY"), x, y}, call_words(0, 2));
  const void* input = nullptr;
  void* output = nullptr;
  InlinePool pool;
  Executable::load(b.finish())->run({&input, 1}, {&output, 1}, pool);
}

void failures_are_errors() {
  const auto fails = [](Function run, const std::string& reason) {
    const Registered registered(make_kernel("TEST_FAILING", run));
    const auto executable = Executable::load(one_call("TEST_FAILING"));
    const std::string text = "plugin 'tester', kernel 'TEST_FAILING', node 'node': " + reason;
    require_error(text.c_str(), [&] { run_once(*executable); });
  };
  fails([](const furiosa_kernel_frame* frame) { return furiosa_fail(frame, "bad axis"); },
        "bad axis");
  fails([](const furiosa_kernel_frame*) { return -3; }, "it returned -3");
  fails(
      [](const furiosa_kernel_frame* frame) {
        furiosa_fail(frame, "a text is enough");
        return 0;
      },
      "a text is enough");
  fails(
      [](const furiosa_kernel_frame* frame) {
        std::memset(frame->error, 'x', frame->error_size);
        return 1;
      },
      std::string(1023, 'x'));
  fails([](const furiosa_kernel_frame* frame) { return furiosa_fail(frame, "\xFF\xC3\xA4\xC3"); },
        "?\xC3\xA4?");
  fails([](const furiosa_kernel_frame*) -> int32_t { throw std::runtime_error("thrown"); },
        "it threw an exception: thrown");
  fails([](const furiosa_kernel_frame*) -> int32_t { throw 1; }, "it threw an exception");
  const std::string long_text(5000, 'y');
  char error[8];
  furiosa_kernel_frame frame{};
  frame.error = error;
  frame.error_size = sizeof error;
  require(furiosa_fail(&frame, long_text.c_str()) == 1 && std::string(error) == "yyyyyyy",
          "furiosa_fail cuts what is too long");
}

void text_becomes_utf8() {
  const auto becomes = [](std::string_view text, std::string_view expected) {
    require(valid_utf8(text) == expected, "UTF-8 of '" + std::string(text) + "'");
  };
  for (const char* good : {"", "a", "\xC2\x80", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEF\xBF\xBF",
                           "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    becomes(good, good);
  }
  becomes("\x80", "?");
  becomes("\xC1\xBF", "??");
  becomes("\xE0\x9F\xBF", "???");  // longer than need be
  becomes("\xED\xA0\x80", "???");  // a surrogate
  becomes("\xF0\x8F\xBF\xBF", "????");
  becomes("\xF4\x90\x80\x80", "????");  // past the last code point
  becomes("\xF5\x80", "??");
  becomes("\xE2\x82z", "??z");  // cut
}

void unsound_calls_are_refused() {
  furiosa_kernel kernel = make_kernel("TEST_CALLED");
  kernel.operands = "x:u8 gamma:f32? -> y:u8";
  kernel.attributes = "axis";
  const Registered plain(kernel);
  kernel.opcode = "TEST_CALLED_STRIDED";
  kernel.flags = FURIOSA_KERNEL_STRIDED;
  const Registered strided(kernel);
  struct Sound {
    ProgramBuilder b;
    uint32_t kernel = b.text("TEST_CALLED");
    uint32_t strided = b.text("TEST_CALLED_STRIDED");
    uint32_t x = b.input(DType::kU8, {2, 3});
    uint32_t gamma = b.input(DType::kF32, {3});
    uint32_t y = b.output(DType::kU8, {2, 3});
    std::vector<uint64_t> words = call_words(0, 3, {word(1)});
  };
  using Operands = std::vector<uint32_t>;
  const auto refused = [](const char* reason, const std::function<Operands(Sound&)>& make) {
    Sound sound;
    const Operands operands = make(sound);
    sound.b.command(Opcode::CALL, operands, sound.words);
    const Bytes program = sound.b.finish();
    if (*reason == '\0') {
      Executable::load(program);
    } else {
      require_error(reason, [&] { Executable::load(program); });
    }
  };
  refused("", [](Sound& s) { return Operands{s.kernel, s.x, s.gamma, s.y}; });
  refused("", [](Sound& s) { return Operands{s.kernel, s.x, kAbsent, s.y}; });
  refused("CALL 'node': no kernel 'TEST_MISSING' is registered: install the plugin",
          [](Sound& s) { return Operands{s.b.text("TEST_MISSING"), s.x, s.y}; });
  refused("no kernel 'TEST?' is",
          [](Sound& s) { return Operands{s.b.text("TEST\xFF"), s.x, s.y}; });
  refused("operand kernel is 2x3: expected a contiguous constant",
          [](Sound& s) { return Operands{s.x, s.x, kAbsent, s.y}; });
  refused("operand kernel: it is missing", [](Sound& s) { return Operands{kAbsent, s.x, s.y}; });
  refused("has 1 operands", [](Sound& s) { return Operands{s.y}; });
  refused("operand y: it is missing", [](Sound& s) { return Operands{s.kernel, s.x, kAbsent}; });
  refused("a result cannot be written", [](Sound& s) { return Operands{s.kernel, s.y, s.x}; });
  refused("node 'node': 2 operands and results, expected 3, x:u8 gamma:f32? -> y:u8",
          [](Sound& s) { return Operands{s.kernel, s.x, s.y}; });
  refused("plugin 'tester', kernel 'TEST_CALLED', node 'node': operand x: it is missing",
          [](Sound& s) { return Operands{s.kernel, kAbsent, s.gamma, s.y}; });
  refused("operand gamma: dtype u8, expected f32",
          [](Sound& s) { return Operands{s.kernel, s.x, s.x, s.y}; });
  refused("6 values, expected 2 for each operand and result and 1 attributes", [](Sound& s) {
    s.words.pop_back();
    return Operands{s.kernel, s.x, s.gamma, s.y};
  });
  refused("workspace=1073741825: expected 0 to 1073741824", [](Sound& s) {
    s.words[0] = (1 << 30) + 1;
    return Operands{s.kernel, s.x, s.gamma, s.y};
  });
  refused("operand x: zero point 256, expected 0 to 255", [](Sound& s) {
    s.words[2] = 256;
    return Operands{s.kernel, s.x, s.gamma, s.y};
  });
  refused("operand gamma: zero point 2147483648, expected an int32", [](Sound& s) {
    s.words[4] = uint64_t{1} << 31;
    return Operands{s.kernel, s.x, s.gamma, s.y};
  });
  const auto turned = [](Sound& s, Storage storage) {
    return s.b.view(DType::kU8, storage, {3, 2}, 0, 0, {1, 3});
  };
  refused("operand x: dims 3x2 with strides 1x3: expected row-major",
          [&](Sound& s) { return Operands{s.kernel, turned(s, Storage::kInput), s.gamma, s.y}; });
  refused("operand y: dims 3x2 with strides 1x3: expected row-major",
          [&](Sound& s) { return Operands{s.kernel, s.x, s.gamma, turned(s, Storage::kOutput)}; });
  refused("", [&](Sound& s) {
    return Operands{s.strided, turned(s, Storage::kInput), s.gamma, turned(s, Storage::kOutput)};
  });
  refused("operand x: it overlaps the result",
          [](Sound& s) { return Operands{s.kernel, s.y, s.gamma, s.y}; });
  refused("operand x: it overlaps the result", [&](Sound& s) {
    return Operands{s.kernel, s.b.view(DType::kU8, Storage::kOutput, {1}, 5, 0), s.gamma, s.y};
  });
  refused("", [](Sound& s) {  // one behind the other
    s.b.arena(DType::kU8, {64});
    return Operands{s.kernel, s.b.view(DType::kU8, Storage::kArena, {6}, 0, 0), s.gamma,
                    s.b.view(DType::kU8, Storage::kArena, {6}, 6, 0)};
  });
}

void a_kernel_in_use_stays() {
  const furiosa_kernel kernel = make_kernel("TEST_USED");
  kernel_registry().add(kernel);
  auto executable = Executable::load(one_call("TEST_USED"));
  require_error("kernel 'TEST_USED' of plugin 'tester' is in use by 1 commands",
                [&] { kernel_registry().remove(kernel); });
  executable.reset();
  kernel_registry().remove(kernel);
  require_error("is not registered", [&] { kernel_registry().remove(kernel); });
  require_error("no kernel 'TEST_USED'", [&] { Executable::load(one_call("TEST_USED")); });
}

void threads_call_one_kernel() {
  // The result is x + 1, by way of a workspace that another call would spoil.
  const auto add_one = [](const furiosa_kernel_frame* frame) -> int32_t {
    auto* work = static_cast<uint8_t*>(frame->workspace);
    const auto* x = static_cast<const uint8_t*>(frame->inputs[0].data);
    for (int64_t i = 0; i < kElements; ++i) work[i] = static_cast<uint8_t>(x[i] + 1);
    std::this_thread::yield();
    std::copy_n(work, kElements, static_cast<uint8_t*>(frame->outputs[0].data));
    return 0;
  };
  const Registered registered(make_kernel("TEST_THREADS", add_one));
  std::atomic<int> wrong = 0;
  {
    const auto executable = Executable::load(one_call("TEST_THREADS", kElements));
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (int round = 0; round < 500; ++round) {
          const auto first = static_cast<uint8_t>(50 * thread);
          const Bytes y = run_once(*executable, first);
          for (size_t i = 0; i < y.size(); ++i) wrong += y[i] != std::byte(first + 1 + i);
          // Others come and go meanwhile.
          const std::string opcode = "TEST_THREADS_" + std::to_string(thread);
          const Registered other(make_kernel(opcode.c_str()));
          run_once(*Executable::load(one_call(opcode.c_str())));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  require(wrong == 0, "calls on several threads do not disturb each other");
}

}  // namespace
}  // namespace furiosa::test

int main() {
  using namespace furiosa::test;  // NOLINT: a test
  unsound_kernels_are_refused();
  larger_descriptions_are_taken_if_the_rest_is_zero();
  an_opcode_belongs_to_one_plugin();
  the_best_variant_is_called();
  every_part_of_the_frame();
  results_without_elements_need_no_kernel();
  failures_are_errors();
  text_becomes_utf8();
  unsound_calls_are_refused();
  a_kernel_in_use_stays();
  threads_call_one_kernel();
  std::puts("ok");
}
