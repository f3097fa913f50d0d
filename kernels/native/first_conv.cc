#include "kernels/native/first_conv.h"

#include <algorithm>
#include <cstring>

namespace furiosa::kernels {
namespace {

constexpr int64_t kMostChannels = 12;     // beyond that, taps are long enough without lines
constexpr int64_t kThreadWork = 200'000;  // multiply-adds that are worth a thread of their own
constexpr size_t kLead = 64;              // bytes before a line that may be read
constexpr size_t kSpare = 128;            // and behind it

constexpr size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }

}  // namespace

const FirstConvKernels* first_conv_kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512Vnni) return &first_conv_avx512vnni;
#endif
  return nullptr;
}

bool FirstConv::fits(const ConvProblem& problem, Isa isa) {
  const Window& window = problem.window;
  const Epilogue& epilogue = problem.epilogue;
  const bool common = !epilogue.to_float && epilogue.table_stride == 0 && !epilogue.add_residual;
  // Where windows hardly overlap or leave much out, lines are copied for little.
  return first_conv_kernels(isa) != nullptr && problem.group == 1 && problem.weights != nullptr &&
         problem.x.channels <= kMostChannels && window.kernel_w > 1 && window.dilation_w == 1 &&
         window.stride_w <= 2 * window.kernel_w && common;
}

FirstConv::FirstConv(const ConvProblem& problem, Isa isa)
    : kernels_(first_conv_kernels(isa)),
      x_(problem.x),
      y_(problem.y),
      window_(problem.window),
      epilogue_(problem.epilogue),
      x_zero_point_(problem.x_zero_point),
      line_bytes_(static_cast<size_t>(window_.kernel_w * x_.channels)) {
  divide_window();
  pack(problem, gemm_kernels(isa));
}

// Packs what is left of the kernel rows where that makes less fours.
void FirstConv::divide_window() {
  const size_t height = static_cast<size_t>(window_.kernel_h);
  const size_t rest = line_bytes_ % 4;
  packed_fours_ = ceil_div(height * rest, 4);
  if (window_.stride_w * x_.channels > kFirstConvPackedStep || packed_fours_ == height) {
    packed_fours_ = 0;
  }
  line_fours_ = packed_fours_ == 0 ? ceil_div(line_bytes_, 4) : line_bytes_ / 4;
  if (packed_fours_ == 0) return;
  for (size_t at = 0; at < height * rest;) {
    const size_t line = at / rest, done = at % rest;
    const size_t count = std::min(rest - done, 4 - at % 4);
    remainders_.push_back({at / 4, at % 4, count, line, line_fours_ * 4 + done});
    at += count;
  }
}

void FirstConv::pack(const ConvProblem& problem, const PanelKernels& kernels) {
  const size_t height = static_cast<size_t>(window_.kernel_h);
  const size_t channels = static_cast<size_t>(y_.channels);
  const size_t line_depth = line_fours_ * 4, depth = height * line_depth + packed_fours_ * 4;
  // In the order of the fours.
  std::vector<uint8_t> ordered(channels * depth);
  const auto* from = reinterpret_cast<const uint8_t*>(problem.weights);
  for (uint8_t *to = ordered.data(), *end = to + ordered.size(); to != end; to += depth) {
    for (size_t line = 0; line < height; ++line) {
      std::memcpy(to + line * line_depth, from + line * line_bytes_,
                  std::min(line_depth, line_bytes_));
    }
    for (const FirstConvRemainder& remainder : remainders_) {
      std::memcpy(to + height * line_depth + remainder.four * 4 + remainder.first,
                  from + remainder.line * line_bytes_ + remainder.offset, remainder.count);
    }
    from += height * line_bytes_;
  }
  const size_t panels = ceil_div(channels, kPanelColumns);
  panel_size_ = kernels.panel_size(1, depth, kPanelColumns);
  weights_ = AlignedBuffer<uint8_t>(panels * panel_size_);
  scales_ = AlignedBuffer<PanelScales>(panels);
  for (size_t i = 0; i < panels; ++i) {
    const size_t first = i * kPanelColumns, columns = std::min(kPanelColumns, channels - first);
    const PanelSource source{
        ordered.data() + first * depth, 0, 1, static_cast<ptrdiff_t>(depth), 1, depth, columns, 0};
    int32_t sums[kPanelColumns];
    kernels.pack(source, weights_.data() + i * panel_size_, sums);
    for (size_t column = 0; column < columns; ++column) {
      const size_t slot = kernels.slot(column, columns);
      const uint32_t correction = x_zero_point_ * static_cast<uint32_t>(sums[column]);
      const uint32_t bias = static_cast<uint32_t>(problem.bias[first + column]);
      scales_[i].bias[slot] = static_cast<int32_t>(bias - correction);
      scales_[i].multiplier[slot] = problem.multiplier[first + column];
    }
  }
}

void FirstConv::run(const uint8_t* x, uint8_t* y, ThreadPool& pool) const {
  const int64_t rows = y_.batch * y_.height;
  const int64_t work = y_.pixels() * y_.channels * window_.taps() * x_.channels;
  const int64_t threads = std::min(static_cast<int64_t>(pool.concurrency()), work / kThreadWork);
  const int64_t tasks = std::min(rows, threads > 1 ? 2 * threads : 1);
  pool.parallel_for(static_cast<size_t>(tasks), [&](size_t task) {
    const int64_t i = static_cast<int64_t>(task);
    run_rows(rows * i / tasks, rows * (i + 1) / tasks, x, y);
  });
}

// Input rows are copied once, with what is outside the image on either side.
void FirstConv::run_rows(int64_t first, int64_t last, const uint8_t* x, uint8_t* y) const {
  const int64_t span = (window_.kernel_h - 1) * window_.dilation_h + 1;
  const int64_t step = window_.stride_w * x_.channels;
  const int64_t pixels = (std::max(y_.width, kFirstConvPixels) + kFirstConvPixels - 1) /
                         kFirstConvPixels * kFirstConvPixels;
  const size_t height = static_cast<size_t>(window_.kernel_h);
  const size_t line_size =
      ceil_div(kLead + static_cast<size_t>(pixels * step) + line_bytes_ + kSpare, 64) * 64;
  const size_t lines_size = static_cast<size_t>(span + 1) * line_size;
  const size_t packed_size = static_cast<size_t>(pixels) * packed_fours_ * 4;
  const size_t spare_size = static_cast<size_t>(kFirstConvPixels) * kPanelColumns;
  uint8_t* outside =
      thread_scratch(lines_size + packed_size + spare_size + height * sizeof(const uint8_t*));
  uint8_t* copies = outside + line_size;
  uint8_t* packed = outside + lines_size;
  uint8_t* spare = packed + packed_size;
  auto* lines = reinterpret_cast<const uint8_t**>(spare + spare_size);
  std::memset(outside, x_zero_point_, lines_size);

  const int64_t width = std::clamp<int64_t>(
      (y_.width - 1) * window_.stride_w + window_.kernel_w - window_.pad_left, 0, x_.width);
  FirstConvRow row{};
  row.lines = lines;
  row.kernel_h = height;
  row.line_fours = line_fours_;
  row.line_step = step;
  row.packed = packed;
  row.packed_fours = packed_fours_;
  row.packed_pitch = pixels * 4;
  row.width = std::max(y_.width, kFirstConvPixels);
  row.epilogue = &epilogue_;
  int64_t copied = 0;  // rows of the image
  for (int64_t at = first; at < last; ++at) {
    const int64_t image = at / y_.height, own = at % y_.height;
    const int64_t top = own * window_.stride_h - window_.pad_top;
    if (own == 0) copied = 0;
    copied = std::max(copied, top);
    for (; copied < std::min(top + span, x_.height); ++copied) {
      uint8_t* to = copies + static_cast<size_t>(copied % span) * line_size + kLead;
      copy_rectangle(x_, x + image * x_.batch_stride, x_zero_point_, {copied, 0, 1, width},
                     to + window_.pad_left * x_.channels);
    }
    for (size_t ky = 0; ky < height; ++ky) {
      const int64_t input = top + static_cast<int64_t>(ky) * window_.dilation_h;
      const bool inside = input >= 0 && input < x_.height;
      lines[ky] =
          (inside ? copies + static_cast<size_t>(input % span) * line_size : outside) + kLead;
    }
    if (packed_fours_ > 0) kernels_->pack(row, remainders_.data(), remainders_.size(), packed);
    run_row(row, y + image * y_.batch_stride + own * y_.row_stride, spare);
  }
}

// Computes all columns of a row whose lines are ready.
void FirstConv::run_row(FirstConvRow& row, uint8_t* y, uint8_t* spare) const {
  const size_t channels = static_cast<size_t>(y_.channels);
  const bool narrow = y_.width < kFirstConvPixels;
  row.y_step = narrow ? static_cast<ptrdiff_t>(kPanelColumns) : y_.pixel_stride;
  for (size_t i = 0; i < scales_.size(); ++i, y += kPanelColumns) {
    row.panel = weights_.data() + i * panel_size_;
    row.scales = &scales_[i];
    row.columns = std::min(kPanelColumns, channels - i * kPanelColumns);
    row.y = narrow ? spare : y;
    kernels_->run(row);
    for (int64_t pixel = 0; narrow && pixel < y_.width; ++pixel) {
      std::memcpy(y + pixel * y_.pixel_stride, spare + pixel * row.y_step, row.columns);
    }
  }
}

}  // namespace furiosa::kernels
