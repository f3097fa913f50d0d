#include "tests/native/samples.h"

#include <numeric>
#include <random>

#include "device_emulator/native/kernel_registry.h"

namespace furiosa::test {
namespace {

template <class T>
std::vector<T> values(size_t count, T first, T step) {
  std::vector<T> result(count);
  for (T& one : result) {
    one = first;
    first = static_cast<T>(first + step);
  }
  return result;
}

uint32_t table(ProgramBuilder& b, int64_t channels = 0) {
  const Dims dims = channels > 0 ? Dims{channels, 256} : Dims{256};
  return b.constant(
      DType::kU8, dims,
      values<uint8_t>(static_cast<size_t>(256 * std::max<int64_t>(1, channels)), 7, 3));
}

// QUANTIZE from NCHW, CONV with residual and tables, MAX_POOL, GLOBAL_AVERAGE_POOL, DEQUANTIZE;
// with a schedule.
Bytes image_network() {
  ProgramBuilder b;
  b.input(DType::kF32, {1, 3, 10, 12});
  const uint32_t nchw =
      b.view(DType::kF32, Storage::kInput, {1, 10, 12, 3}, 0, 0, {360, 12, 1, 120});
  const uint32_t x = b.arena(DType::kU8, {1, 10, 12, 3});
  b.command(Opcode::QUANTIZE, {nchw, x}, {word(0.02f), word(120)});
  b.event(Engine::kHost, 0, 90);
  b.event(Engine::kIo, 90, 100, 360);
  const uint32_t w = b.constant(DType::kI8, {20, 3, 3, 3}, values<int8_t>(20 * 27, -90, 7));
  const uint32_t bias = b.constant(DType::kI32, {20}, values<int32_t>(20, -500, 60));
  const uint32_t multiplier = b.constant(DType::kF32, {20}, values<float>(20, 0.001f, 0.0005f));
  const uint32_t residual = b.arena(DType::kU8, {1, 5, 6, 20});
  b.command(Opcode::FILL, {residual}, {word(77)});
  const uint32_t y = b.arena(DType::kU8, {1, 5, 6, 20});
  b.command(Opcode::CONV, {x, w, bias, multiplier, table(b), residual, table(b), y},
            {word(2), word(2), word(1), word(1), word(1), word(1), word(1), word(120), word(3),
             word(1), word(0), word(0.5f), word(0.7f), word(-9.0f)});
  b.event(Engine::kDma, 95, 120, 700);
  b.event(Engine::kCompute, 120, 500);
  const uint32_t pooled = b.arena(DType::kU8, {1, 3, 3, 20});
  b.command(Opcode::MAX_POOL, {y, table(b, 20), pooled},
            {word(3), word(3), word(2), word(2), word(1), word(1), word(1), word(1)});
  b.event(Engine::kCompute, 500, 510);
  b.event(Engine::kDma, 505, 530, 180);
  const uint32_t average = b.arena(DType::kU8, {1, 1, 1, 20});
  b.command(Opcode::GLOBAL_AVERAGE_POOL, {pooled, kAbsent, average},
            {word(3), word(4), word(0.11f)});
  const uint32_t result = b.output(DType::kF32, {1, 1, 1, 20});
  b.command(Opcode::DEQUANTIZE, {average, result}, {word(0.3f), word(4)});
  b.event(Engine::kIo, 530, 540, 20);
  return b.finish();
}

// ADD, MUL and EXPRESSION with broadcasts, COPY into a part of an output.
Bytes arithmetic() {
  ProgramBuilder b;
  const uint32_t x = b.input(DType::kU8, {2, 5, 40});
  b.input(DType::kU8, {40});
  const uint32_t row = b.view(DType::kU8, Storage::kInput, {2, 5, 40}, 0, 1, {0, 0, 1});
  const uint32_t sum = b.arena(DType::kU8, {2, 5, 40});
  b.command(Opcode::ADD, {x, row, table(b), sum}, {word(1), word(0.4f), word(0.6f), word(3.5f)});
  const uint32_t product = b.arena(DType::kU8, {2, 5, 40});
  b.command(Opcode::MUL, {sum, x, table(b, 40), product},
            {word(0), word(3), word(200), word(128), word(0.01f)});
  const uint32_t value = b.arena(DType::kF32, {2, 5, 40});
  const uint64_t constant = word(2.5f) << 32 | 1;
  b.command(Opcode::EXPRESSION, {product, x, kAbsent, kAbsent, kAbsent, value},
            {word(0.1f), word(3), word(0.2f), word(9), word(1.0f), word(0), word(1.0f), word(0),
             word(1.0f), word(0), word(0), uint64_t{1} << 32, word(3), constant, word(5), word(9),
             word(10)});
  const uint32_t y = b.output(DType::kU8, {2, 5, 80});
  b.command(Opcode::FILL, {y}, {word(9)});
  const uint32_t part = b.view(DType::kU8, Storage::kOutput, {2, 5, 40}, 40, 0, {400, 80, 1});
  b.command(Opcode::QUANTIZE, {value, part}, {word(0.05f), word(10)});
  const uint32_t turned = b.view(DType::kU8, Storage::kOutput, {2, 5, 40}, 39, 0, {400, 80, -1});
  b.command(Opcode::COPY, {product, table(b), turned});
  return b.finish();
}

// CONV by every kind of kernel: depthwise of several sizes, in groups, 1x1, with int16 weights.
Bytes convolutions() {
  struct Kind {
    int64_t height, width, group, stride;
    DType dtype;
  };
  constexpr int64_t kChannels = 24;
  constexpr Kind kKinds[] = {{3, 3, kChannels, 1, DType::kI8}, {5, 5, kChannels, 2, DType::kI8},
                             {1, 5, kChannels, 1, DType::kI8}, {4, 5, kChannels, 1, DType::kI8},
                             {8, 5, kChannels, 2, DType::kI8}, {5, 3, kChannels, 1, DType::kI16},
                             {3, 3, 3, 2, DType::kI8},         {1, 1, 1, 1, DType::kI8},
                             {1, 1, 1, 2, DType::kI16},        {2, 7, 1, 1, DType::kI8}};
  ProgramBuilder b;
  const uint32_t x = b.input(DType::kU8, {1, 8, 9, kChannels});
  const uint32_t bias = b.constant(DType::kI32, {kChannels}, values<int32_t>(kChannels, -500, 60));
  const uint32_t multiplier =
      b.constant(DType::kF32, {kChannels}, values<float>(kChannels, 0.001f, 0.0005f));
  for (const Kind& kind : kKinds) {
    const Dims dims = {kChannels, kind.height, kind.width, kChannels / kind.group};
    const auto count = static_cast<size_t>(dims[0] * dims[1] * dims[2] * dims[3]);
    const uint32_t w = kind.dtype == DType::kI8
                           ? b.constant(kind.dtype, dims, values<int8_t>(count, -90, 7))
                           : b.constant(kind.dtype, dims, values<int16_t>(count, -200, 7));
    const int64_t top = kind.height / 2, left = kind.width / 2;
    const uint32_t y = b.output(DType::kU8, {1, (7 + kind.stride) / kind.stride,
                                             (8 + kind.stride) / kind.stride, kChannels});
    b.command(Opcode::CONV, {x, w, bias, multiplier, kAbsent, kAbsent, kAbsent, y},
              {word(kind.stride), word(kind.stride), word(1), word(1), word(top), word(left),
               word(kind.group), word(120), word(3), word(0), word(0), word(0.0f), word(0.0f),
               word(0.0f)});
  }
  return b.finish();
}

// RESIZE_NEAREST, GATHER, MATMUL.
Bytes movement() {
  ProgramBuilder b;
  const uint32_t x = b.input(DType::kU8, {1, 4, 5, 16});
  const uint32_t rows = b.constant<int32_t>(DType::kI32, {6}, {0, 0, 1, 2, 3, 3});
  const uint32_t columns = b.constant<int32_t>(DType::kI32, {8}, {0, 0, 1, 1, 2, 3, 4, 4});
  const uint32_t larger = b.arena(DType::kU8, {1, 6, 8, 16});
  b.command(Opcode::RESIZE_NEAREST, {x, rows, columns, table(b), larger});
  const uint32_t flat = b.view(DType::kU8, Storage::kArena, {2, 24, 16}, 0, 0);
  const uint32_t indices = b.constant<int32_t>(DType::kI32, {5}, {23, 0, 7, 7, 1});
  const uint32_t picked = b.arena(DType::kU8, {2, 5, 16});
  b.command(Opcode::GATHER, {flat, indices, kAbsent, picked});
  const uint64_t offset = 6 * 8 * 16;  // of `picked`
  const uint32_t turned = b.view(DType::kU8, Storage::kArena, {2, 16, 5}, offset, 0, {80, 1, 16});
  const uint32_t y = b.output(DType::kU8, {2, 5, 5});
  b.command(Opcode::MATMUL, {picked, turned, kAbsent, y},
            {word(100), word(101), word(12), word(0.001f)});
  return b.finish();
}

// The opcodes whose arithmetic is ONNX Runtime's float one.
Bytes floating() {
  ProgramBuilder b;
  const uint32_t x = b.input(DType::kU8, {1, 6, 7, 8});
  const uint64_t scale = word(0.05f), zero = word(100);
  const uint32_t pooled = b.output(DType::kU8, {1, 3, 4, 8});
  b.command(Opcode::AVERAGE_POOL, {x, table(b), pooled},
            {word(2), word(3), word(2), word(2), word(1), word(1), word(0), word(1), word(0),
             word(0), scale, zero, scale, zero});
  const uint32_t reduced = b.output(DType::kU8, {1, 6});
  b.command(Opcode::REDUCE, {x, kAbsent, reduced},
            {word(0), word(2), word(0), word(1), scale, zero, scale, zero});
  const uint32_t exponentials = b.constant(DType::kF32, {256}, values<float>(256, 0.01f, 0.5f));
  const uint32_t softmax = b.output(DType::kU8, {1, 6, 7, 8});
  b.command(Opcode::SOFTMAX, {x, exponentials, kAbsent, softmax},
            {word(64), word(1.0f / 256), word(0)});
  const uint32_t normalized = b.output(DType::kF32, {1, 6, 7, 8});
  b.command(Opcode::LP_NORMALIZATION, {x, normalized}, {word(2), scale, zero, scale, zero});
  const uint32_t corners = b.constant<int32_t>(DType::kI32, {3, 2}, {0, 1, 2, 3, 5, 5});
  const uint32_t weights =
      b.constant<float>(DType::kF32, {3, 2}, {0.5f, 0.5f, 0.25f, 0.75f, 1.0f, 0.0f});
  const uint32_t resized = b.output(DType::kU8, {1, 3, 3, 8});
  b.command(Opcode::RESIZE_LINEAR, {x, corners, weights, corners, weights, kAbsent, resized},
            {word(0), scale, zero, scale, zero});
  const uint32_t w = b.constant(DType::kF32, {8, 2, 2, 5}, values<float>(160, -0.5f, 0.006f));
  const uint32_t bias = b.constant(DType::kF32, {5}, values<float>(5, -1.0f, 0.4f));
  const uint32_t larger = b.output(DType::kU8, {1, 12, 14, 5});
  b.command(Opcode::CONV_TRANSPOSE, {x, w, bias, table(b), larger},
            {word(2), word(2), word(1), word(1), word(0), word(0), word(1), word(8), scale, zero,
             scale, zero});
  return b.finish();
}

// y = x * gain + shift, modulo 256. Works whatever the tensors of its types are.
int32_t scale_rows(const furiosa_kernel_frame* frame) {
  struct Work {
    const furiosa_tensor &x, &gain, &y;
    const uint8_t* gains;
    int64_t columns;
    uint8_t shift;
  };
  const furiosa_tensor &x = frame->inputs[0], &gain = frame->inputs[1], &y = frame->outputs[0];
  if (y.rank == 0 || x.rank != y.rank || !std::equal(x.dims, x.dims + x.rank, y.dims)) {
    return furiosa_fail(frame, "x and y are of different shapes");
  }
  const int64_t columns = y.dims[y.rank - 1];
  if (gain.data != nullptr && (gain.rank != 1 || gain.dims[0] != columns)) {
    return furiosa_fail(frame, "gain is not as long as a row");
  }
  if (frame->workspace_size < static_cast<size_t>(columns)) {
    return furiosa_fail(frame, "the workspace is too small");
  }
  auto* gains = static_cast<uint8_t*>(frame->workspace);
  for (int64_t i = 0; i < columns; ++i) {
    gains[i] = gain.data == nullptr
                   ? uint8_t{1}
                   : static_cast<uint8_t>(static_cast<const int32_t*>(gain.data)[i]);
  }
  const int64_t rows = std::accumulate(y.dims, y.dims + y.rank - 1, int64_t{1}, std::multiplies());
  Work work{x, gain, y, gains, columns, static_cast<uint8_t>(frame->attributes[0].integer)};
  frame->parallel_for(
      frame, static_cast<size_t>(rows),
      [](void* context, size_t row) {
        const Work& w = *static_cast<const Work*>(context);
        const auto* from = static_cast<const uint8_t*>(w.x.data) + row * w.columns;
        auto* to = static_cast<uint8_t*>(w.y.data) + row * w.columns;
        for (int64_t i = 0; i < w.columns; ++i) {
          to[i] = static_cast<uint8_t>(from[i] * w.gains[i] + w.shift);
        }
      },
      &work);
  return 0;
}

void register_kernel() {
  static const bool registered = [] {
    furiosa_kernel kernel{};
    kernel.size = sizeof kernel;
    kernel.version = FURIOSA_KERNEL_VERSION;
    kernel.plugin = "samples";
    kernel.opcode = "SAMPLE_SCALE_ROWS";
    kernel.operands = "x:u8 gain:i32? -> y:u8";
    kernel.attributes = "shift";
    kernel.isa = "scalar";
    kernel.run = &scale_rows;
    kernel_registry().add(kernel);
    return true;
  }();
  (void)registered;
}

// CALL with and without its optional operand.
Bytes calls() {
  ProgramBuilder b;
  const uint32_t x = b.input(DType::kU8, {2, 3, 7});
  const uint32_t kernel = b.text("SAMPLE_SCALE_ROWS");
  const uint32_t gain = b.constant(DType::kI32, {7}, values<int32_t>(7, -3, 2));
  const uint32_t between = b.arena(DType::kU8, {2, 3, 7});
  b.command(Opcode::CALL, {kernel, x, gain, between}, call_words(7, 3, {word(5)}));
  const uint32_t y = b.output(DType::kU8, {2, 3, 7});
  b.command(Opcode::CALL, {kernel, between, kAbsent, y}, call_words(64, 3, {word(200)}));
  return b.finish();
}

}  // namespace

std::vector<uint64_t> call_words(uint64_t workspace, size_t tensors,
                                 std::vector<uint64_t> attributes) {
  std::vector<uint64_t> words = {workspace};
  for (size_t i = 0; i < tensors; ++i) words.insert(words.end(), {word(0.5f), word(3)});
  words.insert(words.end(), attributes.begin(), attributes.end());
  return words;
}

std::vector<Sample> samples() {
  register_kernel();
  return {{"image_network", image_network()}, {"arithmetic", arithmetic()},
          {"convolutions", convolutions()},   {"movement", movement()},
          {"floating", floating()},           {"calls", calls()}};
}

Bytes parallel_sample() {
  constexpr int64_t kSize = 192, kChannels = 32;
  ProgramBuilder b;
  b.input(DType::kF32, {1, kChannels, kSize, kSize});
  const uint32_t nchw = b.view(DType::kF32, Storage::kInput, {1, kSize, kSize, kChannels}, 0, 0,
                               {0, kSize, 1, kSize * kSize});
  const Dims dims = {1, kSize, kSize, kChannels};
  const uint32_t x = b.arena(DType::kU8, dims);
  const uint32_t sum = b.arena(DType::kU8, dims);
  const uint32_t y = b.arena(DType::kU8, dims);
  b.command(Opcode::QUANTIZE, {nchw, x}, {word(0.02f), word(120)});
  b.command(Opcode::ADD, {x, x, table(b), sum}, {word(0), word(0.4f), word(0.6f), word(3.5f)});
  b.command(Opcode::MAX_POOL, {sum, kAbsent, y},
            {word(5), word(5), word(1), word(1), word(1), word(1), word(2), word(2)});
  const uint32_t w = b.constant(DType::kI8, {kChannels, 3, 3, kChannels},
                                values<int8_t>(9 * kChannels * kChannels, -90, 7));
  const uint32_t bias = b.constant(DType::kI32, {kChannels}, values<int32_t>(kChannels, -500, 60));
  const uint32_t multiplier =
      b.constant(DType::kF32, {kChannels}, values<float>(kChannels, 0.0001f, 0.00005f));
  b.command(Opcode::CONV, {y, w, bias, multiplier, kAbsent, x, kAbsent, sum},
            {word(1), word(1), word(1), word(1), word(1), word(1), word(1), word(120), word(3),
             word(0), word(0), word(0.5f), word(0.7f), word(-9.0f)});
  b.command(Opcode::MUL, {sum, x, kAbsent, y},
            {word(0), word(3), word(120), word(128), word(0.01f)});
  const uint32_t result = b.output(DType::kF32, {1, kChannels, kSize, kSize});
  (void)result;
  const uint32_t back = b.view(DType::kF32, Storage::kOutput, dims, 0, 0,
                               {kChannels * kSize * kSize, kSize, 1, kSize * kSize});
  b.command(Opcode::DEQUANTIZE, {y, back}, {word(0.3f), word(4)});
  return b.finish();
}

Buffers::Buffers(const Program& program, uint32_t seed) {
  std::minstd_rand random(seed);
  for (const Binding& binding : program.inputs()) {
    Bytes& bytes = inputs.emplace_back(binding.size);
    for (std::byte& one : bytes) one = static_cast<std::byte>(random() >> 8);
    if (binding.dtype == DType::kF32) {  // small numbers rather than any bits
      for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
        const float value = static_cast<float>(static_cast<int>(random() % 2001) - 1000) * 0.005f;
        std::memcpy(bytes.data() + i, &value, sizeof value);
      }
    }
    input_pointers.push_back(bytes.data());
  }
  for (const Binding& binding : program.outputs()) outputs.emplace_back(binding.size);
  for (Bytes& bytes : outputs) output_pointers.push_back(bytes.data());
}

}  // namespace furiosa::test
