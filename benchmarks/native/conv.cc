// Times the convolutions of well-known networks, layer by layer, beside the peak of vpdpbusd:
//   conv_benchmark [network [threads [rounds]]]
// Layers run one after the other with weights of their own; each reads what the one before it
// wrote, so that caches are about as warm as in the network. The first decile of the rounds counts.

#include "kernels/native/conv.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "benchmarks/native/peak.h"
#include "device_emulator/native/spinning_pool.h"

namespace furiosa::benchmarks {
namespace {

using kernels::Conv;
using kernels::ConvProblem;

struct Layer {
  const char* name;
  int count;  // how often the network has it
  int64_t size, in, out, kernel, stride, group;
  enum { kPlain, kAdd, kTable, kTables } epilogue = kPlain;  // kTables: one for each channel
};

constexpr Layer kResNet50[] = {
    {"conv1 7x7", 1, 224, 3, 64, 7, 2, 1},
    {"s2 a1x1 first", 1, 56, 64, 64, 1, 1, 1},
    {"s2 b3x3", 3, 56, 64, 64, 3, 1, 1},
    {"s2 c1x1", 3, 56, 64, 256, 1, 1, 1, Layer::kAdd},
    {"s2 ds1x1", 1, 56, 64, 256, 1, 1, 1},
    {"s2 a1x1", 2, 56, 256, 64, 1, 1, 1},
    {"s3 a1x1 first", 1, 56, 256, 128, 1, 1, 1},
    {"s3 b3x3 s2", 1, 56, 128, 128, 3, 2, 1},
    {"s3 c1x1", 4, 28, 128, 512, 1, 1, 1, Layer::kAdd},
    {"s3 ds1x1 s2", 1, 56, 256, 512, 1, 2, 1},
    {"s3 a1x1", 3, 28, 512, 128, 1, 1, 1},
    {"s3 b3x3", 3, 28, 128, 128, 3, 1, 1},
    {"s4 a1x1 first", 1, 28, 512, 256, 1, 1, 1},
    {"s4 b3x3 s2", 1, 28, 256, 256, 3, 2, 1},
    {"s4 c1x1", 6, 14, 256, 1024, 1, 1, 1, Layer::kAdd},
    {"s4 ds1x1 s2", 1, 28, 512, 1024, 1, 2, 1},
    {"s4 a1x1", 5, 14, 1024, 256, 1, 1, 1},
    {"s4 b3x3", 5, 14, 256, 256, 3, 1, 1},
    {"s5 a1x1 first", 1, 14, 1024, 512, 1, 1, 1},
    {"s5 b3x3 s2", 1, 14, 512, 512, 3, 2, 1},
    {"s5 c1x1", 3, 7, 512, 2048, 1, 1, 1, Layer::kAdd},
    {"s5 ds1x1 s2", 1, 14, 1024, 2048, 1, 2, 1},
    {"s5 a1x1", 2, 7, 2048, 512, 1, 1, 1},
    {"s5 b3x3", 2, 7, 512, 512, 3, 1, 1},
    {"fc", 1, 1, 2048, 1000, 1, 1, 1},
};

constexpr Layer kMobileNetV2[] = {
    {"conv1 3x3", 1, 224, 3, 32, 3, 2, 1},
    {"dw 112 32", 1, 112, 32, 32, 3, 1, 32},
    {"pw 112 32-16", 1, 112, 32, 16, 1, 1, 1},
    {"pw 112 16-96", 1, 112, 16, 96, 1, 1, 1},
    {"dw 112 96 s2", 1, 112, 96, 96, 3, 2, 96},
    {"pw 56 96-24", 1, 56, 96, 24, 1, 1, 1},
    {"pw 56 24-144", 2, 56, 24, 144, 1, 1, 1},
    {"dw 56 144", 1, 56, 144, 144, 3, 1, 144},
    {"pw 56 144-24", 1, 56, 144, 24, 1, 1, 1, Layer::kAdd},
    {"dw 56 144 s2", 1, 56, 144, 144, 3, 2, 144},
    {"pw 28 144-32", 1, 28, 144, 32, 1, 1, 1},
    {"pw 28 32-192", 3, 28, 32, 192, 1, 1, 1},
    {"dw 28 192", 2, 28, 192, 192, 3, 1, 192},
    {"pw 28 192-32", 2, 28, 192, 32, 1, 1, 1, Layer::kAdd},
    {"dw 28 192 s2", 1, 28, 192, 192, 3, 2, 192},
    {"pw 14 192-64", 1, 14, 192, 64, 1, 1, 1},
    {"pw 14 64-384", 4, 14, 64, 384, 1, 1, 1},
    {"dw 14 384", 4, 14, 384, 384, 3, 1, 384},
    {"pw 14 384-64", 3, 14, 384, 64, 1, 1, 1, Layer::kAdd},
    {"pw 14 384-96", 1, 14, 384, 96, 1, 1, 1},
    {"pw 14 96-576", 3, 14, 96, 576, 1, 1, 1},
    {"dw 14 576", 2, 14, 576, 576, 3, 1, 576},
    {"pw 14 576-96", 2, 14, 576, 96, 1, 1, 1, Layer::kAdd},
    {"dw 14 576 s2", 1, 14, 576, 576, 3, 2, 576},
    {"pw 7 576-160", 1, 7, 576, 160, 1, 1, 1},
    {"pw 7 160-960", 3, 7, 160, 960, 1, 1, 1},
    {"dw 7 960", 3, 7, 960, 960, 3, 1, 960},
    {"pw 7 960-160", 2, 7, 960, 160, 1, 1, 1, Layer::kAdd},
    {"pw 7 960-320", 1, 7, 960, 320, 1, 1, 1},
    {"pw 7 320-1280", 1, 7, 320, 1280, 1, 1, 1},
    {"fc", 1, 1, 1280, 1000, 1, 1, 1},
};

constexpr Layer kYoloV8n[] = {
    {"conv0 3x3 s2", 1, 640, 3, 16, 3, 2, 1, Layer::kTable},
    {"conv1 3x3 s2", 1, 320, 16, 32, 3, 2, 1, Layer::kTable},
    {"c2f 160 cv1", 1, 160, 32, 32, 1, 1, 1, Layer::kTable},
    {"c2f 160 m", 2, 160, 16, 16, 3, 1, 1, Layer::kTable},
    {"c2f 160 cv2", 1, 160, 48, 32, 1, 1, 1, Layer::kTable},
    {"conv3 3x3 s2", 1, 160, 32, 64, 3, 2, 1, Layer::kTable},
    {"c2f 80 cv1", 1, 80, 64, 64, 1, 1, 1, Layer::kTable},
    {"c2f 80 m", 6, 80, 32, 32, 3, 1, 1, Layer::kTable},
    {"c2f 80 cv2", 1, 80, 128, 64, 1, 1, 1, Layer::kTable},
    {"conv5 3x3 s2", 1, 80, 64, 128, 3, 2, 1, Layer::kTable},
    {"c2f 40 cv1", 1, 40, 128, 128, 1, 1, 1, Layer::kTable},
    {"c2f 40 m", 8, 40, 64, 64, 3, 1, 1, Layer::kTable},
    {"c2f 40 cv2", 1, 40, 256, 128, 1, 1, 1, Layer::kTable},
    {"conv7 3x3 s2", 1, 40, 128, 256, 3, 2, 1, Layer::kTable},
    {"c2f 20 cv1", 1, 20, 256, 256, 1, 1, 1, Layer::kTable},
    {"c2f 20 m", 4, 20, 128, 128, 3, 1, 1, Layer::kTable},
    {"c2f 20 cv2", 1, 20, 384, 256, 1, 1, 1, Layer::kTable},
    {"sppf cv2", 1, 20, 512, 256, 1, 1, 1, Layer::kTable},
    {"head 80 cls 3x3", 2, 80, 64, 80, 3, 1, 1, Layer::kTable},
    {"head 80 box 3x3", 2, 80, 64, 64, 3, 1, 1, Layer::kTable},
    {"head 80 cls 1x1", 1, 80, 80, 80, 1, 1, 1},
    {"head 40 cls 3x3", 1, 40, 128, 80, 3, 1, 1, Layer::kTable},
    {"head 20 cls 3x3", 1, 20, 256, 80, 3, 1, 1, Layer::kTable},
};

// First layers: those of SSD-MobileNet, YOLOv5s, EfficientNet-Lite0, an image of one channel.
constexpr Layer kFirstLayers[] = {
    {"3x3 s2 3-16 640", 1, 640, 3, 16, 3, 2, 1, Layer::kTable},
    {"6x6 s2 3-32 640", 1, 640, 3, 32, 6, 2, 1, Layer::kTable},
    {"3x3 s2 3-32 300", 1, 300, 3, 32, 3, 2, 1},
    {"3x3 s2 3-32 224", 1, 224, 3, 32, 3, 2, 1},
    {"7x7 s2 3-64 224", 1, 224, 3, 64, 7, 2, 1},
    {"3x3 s1 3-64 224", 1, 224, 3, 64, 3, 1, 1},
    {"5x5 s1 1-64 224", 1, 224, 1, 64, 5, 1, 1},
    {"5x5 s1 1-8 28", 1, 28, 1, 8, 5, 1, 1},
    {"3x3 s2 3-24 320", 1, 320, 3, 24, 3, 2, 1},
    {"3x3 s1 8-8 160", 1, 160, 8, 8, 3, 1, 1},
    {"3x3 s1 12-48 80", 1, 80, 12, 48, 3, 1, 1},
};

// Depthwise layers of few channels.
constexpr Layer kNarrowLayers[] = {
    {"dw 320 16 table", 1, 320, 16, 16, 3, 1, 16, Layer::kTable},
    {"dw 112 16", 1, 112, 16, 16, 3, 1, 16},
    {"dw 7 16", 1, 7, 16, 16, 3, 1, 16},
    {"dw 160 32 table", 1, 160, 32, 32, 3, 1, 32, Layer::kTable},
    {"dw 112 32", 1, 112, 32, 32, 3, 1, 32},
    {"dw 7 32", 1, 7, 32, 32, 3, 1, 32},
    {"dw 112 64", 1, 112, 64, 64, 3, 1, 64},
};

constexpr Layer kTableLayers[] = {
    {"1x1 16-32 320", 1, 320, 16, 32, 1, 1, 1, Layer::kTable},
    {"1x1 16-32 320 tables", 1, 320, 16, 32, 1, 1, 1, Layer::kTables},
    {"1x1 48-48 160 tables", 1, 160, 48, 48, 1, 1, 1, Layer::kTables},
    {"3x3 96-24 160 tables", 1, 160, 96, 24, 3, 1, 1, Layer::kTables},
    {"1x1 192-192 40 tables", 1, 40, 192, 192, 1, 1, 1, Layer::kTables},
};

struct Network {
  const char* name;
  const Layer* layers;
  size_t count;
};

constexpr Network kNetworks[] = {{"resnet50", kResNet50, std::size(kResNet50)},
                                 {"mobilenet_v2", kMobileNetV2, std::size(kMobileNetV2)},
                                 {"yolov8n", kYoloV8n, std::size(kYoloV8n)},
                                 {"first_layers", kFirstLayers, std::size(kFirstLayers)},
                                 {"narrow_layers", kNarrowLayers, std::size(kNarrowLayers)},
                                 {"table_layers", kTableLayers, std::size(kTableLayers)}};

kernels::ImageView dense(int64_t size, int64_t channels) {
  return {1, size, size, channels, size * size * channels, size * channels, channels};
}

// A layer with its own weights.
class Bench {
 public:
  Bench(const Layer& layer, Isa isa) : layer_(layer) {
    ConvProblem problem;
    const int64_t pad = (layer.kernel - 1) / 2;
    const int64_t out = (layer.size + 2 * pad - layer.kernel) / layer.stride + 1;
    problem.x = dense(layer.size, layer.in);
    problem.y = dense(out, layer.out);
    problem.residual = problem.y;
    problem.window = {layer.kernel, layer.kernel, layer.stride, layer.stride, 1, 1, pad, pad};
    problem.group = layer.group;
    problem.x_zero_point = 128;
    const int64_t size = layer.out * layer.kernel * layer.kernel * layer.in / layer.group;
    macs_ = out * out * size;
    std::minstd_rand random;
    std::vector<int8_t> weights(static_cast<size_t>(size));
    for (int8_t& weight : weights) weight = static_cast<int8_t>(random());
    const std::vector<int32_t> bias(static_cast<size_t>(layer.out), 1000);
    const std::vector<float> multiplier(static_cast<size_t>(layer.out), 0.001f);
    problem.weights = weights.data();
    problem.bias = bias.data();
    problem.multiplier = multiplier.data();
    problem.epilogue.y_zero_point = 3;
    const bool tables = layer.epilogue == Layer::kTables;
    problem.epilogue.table = tables || layer.epilogue == Layer::kTable ? kTables : nullptr;
    problem.epilogue.table_stride = tables ? 256 : 0;
    problem.epilogue.add_residual = layer.epilogue == Layer::kAdd;
    problem.epilogue.residual_scale = problem.epilogue.conv_scale = 0.5f;
    problem.epilogue.bounded = kernels::is_bounded(problem);
    x_size_ = static_cast<size_t>(layer.size * layer.size * layer.in);
    y_size_ = static_cast<size_t>(out * out * layer.out);
    conv_ = std::make_unique<Conv>(problem, isa);
  }

  void run(const uint8_t* x, uint8_t* y, const uint8_t* residual, ThreadPool& pool) {
    const auto start = std::chrono::steady_clock::now();
    conv_->run(x, y, residual, pool);
    const auto end = std::chrono::steady_clock::now();
    const double us = std::chrono::duration<double, std::micro>(end - start).count();
    times_.push_back(us);
  }

  const Layer& layer() const { return layer_; }
  size_t largest() const { return std::max(x_size_, y_size_); }
  double macs() const { return static_cast<double>(macs_); }
  double time() {  // the first decile
    std::sort(times_.begin(), times_.end());
    return times_[times_.size() / 10];
  }

 private:
  static const uint8_t kTables[256 * 256];  // of 256 channels
  const Layer& layer_;
  int64_t macs_;
  size_t x_size_, y_size_;
  std::unique_ptr<Conv> conv_;
  std::vector<double> times_;
};

const uint8_t Bench::kTables[256 * 256] = {};

void run_network(const Network& network, size_t threads, int repeats) {
  const Isa isa = active_isa();
  SpinningPool pool(threads);
  std::vector<Bench> benches;
  benches.reserve(network.count);
  for (size_t i = 0; i < network.count; ++i) benches.emplace_back(network.layers[i], isa);
  size_t largest = 0;
  for (const Bench& bench : benches) largest = std::max(largest, bench.largest());
  kernels::AlignedBuffer<uint8_t> buffers[3];
  for (auto& buffer : buffers) buffer = kernels::AlignedBuffer<uint8_t>(largest);
  double peak = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    if (detected_isa() >= Isa::kAvx512Vnni) peak = std::max(peak, vnni_peak());
    for (size_t i = 0; i < benches.size(); ++i) {
      benches[i].run(buffers[i % 3].data(), buffers[(i + 1) % 3].data(),
                     buffers[(i + 2) % 3].data(), pool);
    }
  }
  peak *= static_cast<double>(threads);
  std::printf("%s, %s, %zu thread(s), peak %.1f GMAC/s\n", network.name, isa_name(isa), threads,
              peak);
  double total = 0, roof = 0;
  for (Bench& bench : benches) {
    const double time = bench.time(), least = bench.macs() / peak / 1e3;
    std::printf("%-18s x%d %9.1f us %6.1f%% of peak\n", bench.layer().name, bench.layer().count,
                time, 100 * least / time);
    total += bench.layer().count * time;
    roof += bench.layer().count * least;
  }
  std::printf("%-18s    %9.1f us %6.1f%% of peak\n", "all", total, 100 * roof / total);
}

}  // namespace
}  // namespace furiosa::benchmarks

int main(int argc, char** argv) {
  const char* wanted = argc > 1 ? argv[1] : "";
  const size_t threads = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 1;
  const int repeats = argc > 3 ? std::atoi(argv[3]) : 30;
  for (const auto& network : furiosa::benchmarks::kNetworks) {
    if (*wanted == '\0' || std::strcmp(wanted, network.name) == 0) {
      furiosa::benchmarks::run_network(network, threads, repeats);
    }
  }
}
