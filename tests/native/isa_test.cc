// Every instruction set that this CPU has gives the bytes that plain loops give, for convolutions
// and products of random shapes and epilogues, and writes nothing beside them.
//
//   isa_test [rounds [seed]]

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/native/conv.h"
#include "kernels/native/matmul.h"

namespace {

using namespace furiosa;           // NOLINT: a test
using namespace furiosa::kernels;  // NOLINT

constexpr const char* kIsas[] = {"avx2", "avxvnni", "avx512vnni", "neon"};
constexpr uint8_t kCanary = 0xA5;

class Random {
 public:
  explicit Random(uint32_t seed) : source_(seed) {}

  int64_t integer(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(source_);
  }
  float real(float least, float most) {
    return std::uniform_real_distribution<float>(least, most)(source_);
  }
  template <class T>
  std::vector<T> integers(int64_t size, int64_t least, int64_t most) {
    std::vector<T> values(static_cast<size_t>(size));
    for (T& value : values) value = static_cast<T>(integer(least, most));
    return values;
  }
  std::vector<uint8_t> bytes(int64_t size) { return integers<uint8_t>(size, 0, 255); }

 private:
  std::mt19937 source_;
};

// An epilogue and what it points to.
struct RandomEpilogue {
  RandomEpilogue(Random& random, int64_t channels) {
    epilogue.to_float = random.integer(0, 7) == 0;
    epilogue.y_zero_point = static_cast<uint8_t>(random.integer(0, 255));
    if (epilogue.to_float) return;
    epilogue.table = add_table(random, channels, &table, &epilogue.table_stride);
    epilogue.add_residual = random.integer(0, 1) == 0;
    if (!epilogue.add_residual) return;
    epilogue.residual_table =
        add_table(random, channels, &residual_table, &epilogue.residual_table_stride);
    epilogue.residual_first = random.integer(0, 1) == 0;
    epilogue.is_signed = random.integer(0, 1) == 0;
    epilogue.residual_scale = random.real(0.2f, 1.2f);
    epilogue.conv_scale = random.integer(0, 1) == 0 ? 0.5f : random.real(0.2f, 1.2f);
    epilogue.residual_offset = random.integer(0, 1) == 0 ? -64.5f : random.real(-100.0f, 100.0f);
  }

  static const uint8_t* add_table(Random& random, int64_t channels, std::vector<uint8_t>* to,
                                  size_t* stride) {
    const int64_t kind = random.integer(0, 2);
    if (kind == 0) return nullptr;
    *to = random.bytes(kind == 1 ? 256 : 256 * channels);
    *stride = kind == 1 ? 0 : 256;
    return to->data();
  }

  std::vector<uint8_t> table, residual_table;
  Epilogue epilogue;
};

ImageView dense(int64_t batch, int64_t height, int64_t width, int64_t channels) {
  return {batch, height, width, channels, height * width * channels, width * channels, channels};
}

// Runs compute(isa, y) with each instruction set on `size` bytes with canaries behind them.
template <class Compute>
bool same_everywhere(size_t size, const std::string& name, Compute compute) {
  constexpr size_t kBeside = 64;
  std::vector<uint8_t> expected(size + kBeside, kCanary);
  compute(Isa::kScalar, expected.data());
  for (const char* isa : kIsas) {
    if (!force_isa(isa)) continue;
    std::vector<uint8_t> y(size + kBeside, kCanary);
    compute(active_isa(), y.data());
    for (size_t i = 0; i < y.size(); ++i) {
      if (y[i] == expected[i]) continue;
      std::printf("%s on %s: byte %zu of %zu is %d, expected %d\n", name.c_str(), isa, i, size,
                  y[i], expected[i]);
      return false;
    }
  }
  return true;
}

bool check_conv(uint32_t seed) {
  Random random(seed);
  ConvProblem problem;
  const int64_t kind = random.integer(0, 3);  // dense, first layer, grouped, depthwise
  int64_t in = random.integer(1, 70), out = random.integer(1, 150);
  if (kind == 1) in = random.integer(1, 4);
  if (kind == 2) problem.group = random.integer(2, 4);
  if (kind == 3) problem.group = out = in = random.integer(2, 150);
  if (kind == 2) in *= problem.group, out *= problem.group;
  const int64_t kernel_h = random.integer(1, kind == 3 ? 9 : 3), kernel_w = random.integer(1, 5);
  const int64_t stride = random.integer(1, 2), pad = random.integer(0, 2);
  const int64_t height = kernel_h + random.integer(0, 8), width = kernel_w + random.integer(0, 20);
  problem.x = dense(random.integer(1, 2), height, width, in);
  problem.y = dense(problem.x.batch, (height + 2 * pad - kernel_h) / stride + 1,
                    (width + 2 * pad - kernel_w) / stride + 1, out);
  problem.residual = problem.y;
  problem.window = {kernel_h, kernel_w, stride, stride, 1, 1, pad, pad};
  problem.x_zero_point = static_cast<uint8_t>(random.integer(0, 255));
  const int64_t depth = kernel_h * kernel_w * in / problem.group;
  const auto weights = random.integers<int8_t>(out * depth, -128, 127);
  const auto wide_weights = random.integers<int16_t>(out * depth, -255, 255);
  const auto bias = random.integers<int32_t>(out, -5000, 5000);
  std::vector<float> multiplier;
  for (int64_t i = 0; i < out; ++i) {
    multiplier.push_back(random.real(0.002f, 0.02f) / static_cast<float>(1 + depth / 8));
  }
  if (random.integer(0, 9) == 0) {
    problem.wide_weights = wide_weights.data();
  } else {
    problem.weights = weights.data();
  }
  problem.bias = bias.data();
  problem.multiplier = multiplier.data();
  const RandomEpilogue epilogue(random, out);
  problem.epilogue = epilogue.epilogue;
  problem.epilogue.bounded = random.integer(0, 3) > 0 && is_bounded(problem);
  const std::vector<uint8_t> x = random.bytes(problem.x.pixels() * in);
  const std::vector<uint8_t> residual = random.bytes(problem.y.pixels() * out);
  const size_t size = residual.size() * (problem.epilogue.to_float ? sizeof(float) : 1);
  return same_everywhere(size, "convolution " + std::to_string(seed), [&](Isa isa, uint8_t* y) {
    InlinePool pool;
    Conv(problem, isa).run(x.data(), y, residual.data(), pool);
  });
}

bool check_matmul(uint32_t seed) {
  Random random(seed);
  const int64_t rows = random.integer(1, 20);
  const int64_t depth = random.integer(1, random.integer(0, 9) == 0 ? 3000 : 200);
  const int64_t columns = random.integer(1, 150);
  const bool transposed = random.integer(0, 1) == 0;
  MatMulProblem problem;
  problem.a = {rows, depth, depth, 1, {}};
  problem.b = {depth, columns, transposed ? 1 : columns, transposed ? depth : 1, {}};
  problem.y = {rows, columns, columns, 1, {}};
  problem.a_zero_point = static_cast<uint8_t>(random.integer(0, 255));
  problem.b_zero_point = static_cast<uint8_t>(random.integer(0, 255));
  problem.multiplier = 0.002f;
  problem.epilogue.bounded = random.integer(0, 3) > 0;
  problem.epilogue.y_zero_point = static_cast<uint8_t>(random.integer(0, 255));
  problem.epilogue.to_float = random.integer(0, 3) == 0;
  const std::vector<uint8_t> a = random.bytes(rows * depth), b = random.bytes(depth * columns);
  const size_t element = problem.epilogue.to_float ? sizeof(float) : 1;
  const size_t size = static_cast<size_t>(rows * columns) * element;
  return same_everywhere(size, "product " + std::to_string(seed), [&](Isa isa, uint8_t* y) {
    const MatMul product(problem, isa);
    AlignedBuffer<uint8_t> scratch(product.scratch_size());
    InlinePool pool;
    product.run(a.data(), b.data(), y, reinterpret_cast<std::byte*>(scratch.data()), pool);
  });
}

}  // namespace

int main(int argc, char** argv) {
  const uint32_t rounds = argc > 1 ? static_cast<uint32_t>(std::atoi(argv[1])) : 300;
  const uint32_t first = argc > 2 ? static_cast<uint32_t>(std::atoi(argv[2])) : 0;
  bool good = true;
  for (uint32_t seed = first; seed < first + rounds; ++seed) {
    good = check_conv(seed) && good;
    good = check_matmul(seed) && good;
  }
  std::puts(good ? "ok" : "failed");
  return good ? 0 : 1;
}
