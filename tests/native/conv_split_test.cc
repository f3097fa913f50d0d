// Convolutions and products give the same bytes however they are split among threads.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "kernels/native/conv.h"
#include "kernels/native/matmul.h"

namespace {

using namespace furiosa;           // NOLINT: a test
using namespace furiosa::kernels;  // NOLINT

// Runs the tasks on threads of their own, the last ones first.
class ThreadsPool final : public ThreadPool {
 public:
  explicit ThreadsPool(size_t threads) : threads_(threads) {}
  size_t concurrency() const override { return threads_; }
  void run(size_t count, void (*task)(void*, size_t), void* context) override {
    std::atomic<size_t> left{count};
    const auto work = [&] {
      for (size_t i = left.load(); i > 0;) {
        if (left.compare_exchange_weak(i, i - 1)) {
          task(context, i - 1);
          i = left.load();
        }
      }
    };
    std::vector<std::thread> workers;
    for (size_t i = 0; i < threads_; ++i) workers.emplace_back(work);
    for (std::thread& worker : workers) worker.join();
    most_ = std::max(most_, count);
  }
  size_t most_tasks() const { return most_; }

 private:
  size_t threads_;
  size_t most_ = 0;
};

std::minstd_rand random_source;

std::vector<uint8_t> random_bytes(int64_t size) {
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_source());
  return bytes;
}

struct Shape {
  const char* name;
  int64_t batch, height, width, in, out, kernel, stride, group;
  bool residual = true;
};

constexpr Shape kShapes[] = {
    {"many pixels", 1, 40, 40, 32, 48, 3, 1, 1},
    {"many panels", 1, 5, 5, 256, 700, 1, 1, 1},
    {"one pixel", 1, 1, 1, 1500, 1000, 1, 1, 1},
    {"few of both", 1, 7, 7, 300, 130, 3, 1, 1},
    {"first layer", 2, 61, 47, 3, 24, 3, 2, 1, false},
    {"few channels", 2, 61, 47, 3, 24, 3, 2, 1},
    {"groups", 2, 20, 20, 64, 96, 3, 1, 4},
    {"depthwise rows", 1, 50, 50, 40, 40, 3, 1, 40},
    {"depthwise channels", 1, 7, 7, 960, 960, 5, 1, 960},
    {"depthwise batch", 3, 110, 110, 24, 24, 3, 2, 24},
    {"odd depthwise", 1, 60, 60, 70, 70, 2, 1, 70},
};

ImageView dense(int64_t batch, int64_t height, int64_t width, int64_t channels) {
  return {batch, height, width, channels, height * width * channels, width * channels, channels};
}

bool check_conv(const Shape& shape) {
  const int64_t pad = shape.kernel / 2;
  const auto size = [&](int64_t in) { return (in + 2 * pad - shape.kernel) / shape.stride + 1; };
  ConvProblem problem;
  problem.x = dense(shape.batch, shape.height, shape.width, shape.in);
  problem.y = problem.residual =
      dense(shape.batch, size(shape.height), size(shape.width), shape.out);
  problem.window = {shape.kernel, shape.kernel, shape.stride, shape.stride, 1, 1, pad, pad};
  problem.group = shape.group;
  problem.x_zero_point = 100;
  const std::vector<uint8_t> weights =
      random_bytes(shape.out * shape.kernel * shape.kernel * shape.in / shape.group);
  const std::vector<int32_t> bias(static_cast<size_t>(shape.out), 77);
  const std::vector<float> multiplier(static_cast<size_t>(shape.out), 0.0005f);
  problem.weights = reinterpret_cast<const int8_t*>(weights.data());
  problem.bias = bias.data();
  problem.multiplier = multiplier.data();
  problem.epilogue.y_zero_point = 120;
  problem.epilogue.add_residual = shape.residual;
  problem.epilogue.residual_scale = 0.4f;
  problem.epilogue.conv_scale = 0.7f;
  problem.epilogue.bounded = is_bounded(problem);
  const std::vector<uint8_t> x = random_bytes(problem.x.pixels() * shape.in);
  const std::vector<uint8_t> residual = random_bytes(problem.y.pixels() * shape.out);
  const Conv conv(problem, active_isa());
  std::vector<uint8_t> expected = residual;
  InlinePool inline_pool;
  conv.run(x.data(), expected.data(), residual.data(), inline_pool);
  for (size_t threads = 2; threads <= 5; ++threads) {
    ThreadsPool pool(threads);
    std::vector<uint8_t> y = residual;  // the sum replaces the residual
    conv.run(x.data(), y.data(), y.data(), pool);
    if (pool.most_tasks() < 2 || y != expected) {
      std::printf("conv, %s: %zu threads, %zu tasks: %s\n", shape.name, threads, pool.most_tasks(),
                  y == expected ? "not split" : "other bytes");
      return false;
    }
  }
  return true;
}

bool check_matmul(int64_t batch, int64_t rows, int64_t depth, int64_t columns, bool shared) {
  MatMulProblem problem;
  problem.batch_dims[0] = batch;
  problem.batch_rank = 1;
  problem.a = {rows, depth, depth, 1, {rows * depth}};
  problem.b = {depth, columns, columns, 1, {shared ? 0 : depth * columns}};
  problem.y = {rows, columns, columns, 1, {rows * columns}};
  problem.a_zero_point = 3;
  problem.b_zero_point = 200;
  problem.multiplier = 0.0005f;
  problem.epilogue.bounded = true;
  problem.epilogue.y_zero_point = 120;
  const std::vector<uint8_t> a = random_bytes(batch * rows * depth);
  const std::vector<uint8_t> b = random_bytes((shared ? 1 : batch) * depth * columns);
  const MatMul product(problem, active_isa());
  AlignedBuffer<uint8_t> scratch(product.scratch_size());
  auto* memory = reinterpret_cast<std::byte*>(scratch.data());
  std::vector<uint8_t> expected(static_cast<size_t>(batch * rows * columns));
  InlinePool inline_pool;
  product.run(a.data(), b.data(), expected.data(), memory, inline_pool);
  for (size_t threads = 2; threads <= 5; ++threads) {
    ThreadsPool pool(threads);
    std::vector<uint8_t> y(expected.size());
    product.run(a.data(), b.data(), y.data(), memory, pool);
    if (pool.most_tasks() < 2 || y != expected) {
      std::printf("matmul %d x %d: %zu threads, %zu tasks: %s\n", int(rows), int(columns), threads,
                  pool.most_tasks(), y == expected ? "not split" : "other bytes");
      return false;
    }
  }
  return true;
}

}  // namespace

int main() {
  bool good = true;
  for (const Shape& shape : kShapes) good = check_conv(shape) && good;
  good = check_matmul(6, 90, 64, 90, false) && good;
  good = check_matmul(1, 300, 64, 200, false) && good;
  good = check_matmul(5, 70, 60, 100, true) && good;
  std::puts(good ? "ok" : "failed");
  return good ? 0 : 1;
}
