#include "kernels/native/first_conv.h"

#include <algorithm>
#include <cstring>

namespace furiosa::kernels {
namespace {

constexpr int64_t kMostChannels = 12;     // beyond that, taps are long enough by themselves
constexpr int64_t kThreadWork = 200'000;  // multiply-adds that are worth a thread of their own
constexpr size_t kLead = 64;              // bytes before a line that may be read
constexpr size_t kSpare = 128;            // and behind it

constexpr size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
constexpr size_t round_up(size_t a, size_t b) { return ceil_div(a, b) * b; }

}  // namespace

FirstConvKernel first_conv_kernel([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512Vnni) return first_conv_row_avx512vnni;
#endif
  return nullptr;
}

bool FirstConv::fits(const ConvProblem& problem, Isa isa) {
  const Window& window = problem.window;
  const Epilogue& epilogue = problem.epilogue;
  const bool common = !epilogue.to_float && epilogue.table_stride == 0 && !epilogue.add_residual &&
                      epilogue.bounded;
  // Where windows leave much out, lines are copied for little.
  return first_conv_kernel(isa) != nullptr && problem.group == 1 && problem.weights != nullptr &&
         problem.x.channels <= kMostChannels && window.kernel_w > 1 && window.dilation_w == 1 &&
         window.stride_w <= 2 * window.kernel_w && common;
}

FirstConv::FirstConv(const ConvProblem& problem, Isa isa)
    : kernel_(first_conv_kernel(isa)),
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
  const size_t rest = line_bytes_ % 4, bytes = height * rest;
  line_fours_ = ceil_div(line_bytes_, 4);
  packed_fours_ = 0;
  if (window_.stride_w * x_.channels > kFirstConvPackedStep || rest == 0) return;
  if (ceil_div(bytes, 4) == height) return;
  line_fours_ = line_bytes_ / 4;
  packed_fours_ = ceil_div(bytes, 4);
  for (size_t at = 0; at < bytes;) {
    const size_t line = at / rest, done = at % rest, place = at % 4;
    const size_t count = std::min(rest - done, 4 - place);
    const uint64_t own = ((uint64_t{1} << count) - 1) << place;
    const ptrdiff_t offset =
        static_cast<ptrdiff_t>(line_fours_ * 4 + done) - static_cast<ptrdiff_t>(place);
    at += count;
    remainders_.push_back({line, offset, static_cast<ptrdiff_t>((at - 1) / 4),
                           own * 0x1111111111111111u, at % 4 == 0 || at == bytes});
  }
}

void FirstConv::pack(const ConvProblem& problem, const PanelKernels& kernels) {
  const size_t height = static_cast<size_t>(window_.kernel_h);
  const size_t channels = static_cast<size_t>(y_.channels);
  const size_t own = std::min(line_fours_ * 4, line_bytes_), rest = line_bytes_ - own;
  const size_t depth = 4 * (height * line_fours_ + packed_fours_);
  // In the order of the fours.
  std::vector<uint8_t> ordered(channels * depth);
  const auto* from = reinterpret_cast<const uint8_t*>(problem.weights);
  for (size_t column = 0; column < channels; ++column) {
    uint8_t* to = ordered.data() + column * depth;
    uint8_t* to_packed = to + height * line_fours_ * 4;
    for (size_t line = 0; line < height; ++line, from += line_bytes_) {
      std::memcpy(to + line * line_fours_ * 4, from, own);
      if (rest > 0) std::memcpy(to_packed + line * rest, from + own, rest);
    }
  }
  const size_t panels = ceil_div(channels, kPanelColumns);
  panel_size_ = kernels.panel_size(1, depth, kPanelColumns);
  weights_ = AlignedBuffer<uint8_t>(panels * panel_size_);
  scales_ = AlignedBuffer<PanelScales>(panels);
  for (size_t i = 0; i < panels; ++i) {
    const size_t first = i * kPanelColumns, columns = std::min(kPanelColumns, channels - first);
    const ptrdiff_t pitch = static_cast<ptrdiff_t>(depth);
    const PanelSource source{ordered.data() + first * depth, pitch, 1, pitch, 1, depth, columns, 0};
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

// Copies of the input rows that some output rows read, with what is outside the image on either
// side: as a window moves down, each row is copied once.
class FirstConv::Lines {
 public:
  explicit Lines(const FirstConv& conv)
      : conv_(conv),
        span_((conv.window_.kernel_h - 1) * conv.window_.dilation_h + 1),
        slots_(span_ + conv.window_.stride_h) {
    const Window& window = conv.window_;
    const size_t pixels =
        round_up(static_cast<size_t>(std::max(conv.y_.width, kFirstConvPixels)), kFirstConvPixels);
    const size_t step = static_cast<size_t>(window.stride_w * conv.x_.channels);
    pitch_ = round_up(kLead + pixels * step + conv.line_bytes_ + kSpare, 64);
    inside_ = std::clamp<int64_t>(
        (conv.y_.width - 1) * window.stride_w + window.kernel_w - window.pad_left, 0,
        conv.x_.width);
  }

  size_t size() const { return static_cast<size_t>(slots_ + 1) * pitch_; }

  // Sets the memory, of which size() bytes are used, and the input.
  void start(uint8_t* memory, const uint8_t* x) {
    std::memset(memory, conv_.x_zero_point_, size());
    outside_ = memory + kLead;
    x_ = x;
  }

  // Copies what output row `row`, of all images, reads. The row before it may still be read.
  void copy(int64_t row) {
    const ImageView& x = conv_.x_;
    const int64_t image = row / conv_.y_.height, top = top_of(row);
    if (image != image_) copied_ = 0;
    image_ = image;
    copied_ = std::max(copied_, top);
    const uint8_t* from = x_ + image * x.batch_stride;
    for (; copied_ < std::min(top + span_, x.height); ++copied_) {
      uint8_t* to = slot(copied_) + conv_.window_.pad_left * x.channels;
      if (x.pixel_stride == x.channels) {
        std::memcpy(to, from + copied_ * x.row_stride, static_cast<size_t>(inside_ * x.channels));
      } else {
        copy_rectangle(x, from, conv_.x_zero_point_, {copied_, 0, 1, inside_}, to);
      }
    }
  }

  // Where the windows of an output row start in each line.
  void point(int64_t row, const uint8_t** lines) const {
    const int64_t top = top_of(row);
    for (int64_t ky = 0; ky < conv_.window_.kernel_h; ++ky) {
      const int64_t input = top + ky * conv_.window_.dilation_h;
      const bool inside = input >= 0 && input < conv_.x_.height;
      lines[ky] = inside ? slot(input) : outside_;
    }
  }

 private:
  int64_t top_of(int64_t row) const {
    return row % conv_.y_.height * conv_.window_.stride_h - conv_.window_.pad_top;
  }
  uint8_t* slot(int64_t input) const {
    return outside_ + static_cast<size_t>(input % slots_ + 1) * pitch_;
  }

  const FirstConv& conv_;
  const int64_t span_;  // input rows from the first to the last of a window
  const int64_t slots_;
  size_t pitch_;
  int64_t inside_;  // pixels of a line that are of the image
  uint8_t* outside_ = nullptr;
  const uint8_t* x_ = nullptr;
  int64_t image_ = -1;
  int64_t copied_ = 0;  // rows of the image
};

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

void FirstConv::run_rows(int64_t first, int64_t last, const uint8_t* x, uint8_t* y) const {
  Lines lines(*this);
  const size_t width = static_cast<size_t>(std::max(y_.width, kFirstConvPixels));
  const size_t packed_pitch = round_up(width, kFirstConvPixels) * 4;
  const size_t height = static_cast<size_t>(window_.kernel_h);
  const size_t packed_size = packed_fours_ * packed_pitch;
  const size_t spare_size = kFirstConvPixels * kPanelColumns;
  uint8_t* scratch =
      thread_scratch(lines.size() + packed_size + spare_size + height * sizeof(const uint8_t*));
  uint8_t* spare = scratch + lines.size() + packed_size;
  auto* addresses = reinterpret_cast<const uint8_t**>(spare + spare_size);
  lines.start(scratch, x);

  FirstConvRow row{};
  row.lines = addresses;
  row.kernel_h = height;
  row.line_fours = line_fours_;
  row.line_step = window_.stride_w * x_.channels;
  row.remainders = remainders_.data();
  row.packed = scratch + lines.size();
  row.packed_fours = packed_fours_;
  row.packed_pitch = static_cast<ptrdiff_t>(packed_pitch);
  row.width = static_cast<ptrdiff_t>(width);
  row.epilogue = &epilogue_;
  for (int64_t at = first; at < last; ++at) {
    if (at == first || at % y_.height == 0) lines.copy(at);
    // What has just been written is slow to read: a row's input is copied while the one before is
    // computed.
    if (at + 1 < last && (at + 1) % y_.height != 0) lines.copy(at + 1);
    lines.point(at, addresses);
    const int64_t image = at / y_.height, own = at % y_.height;
    run_row(row, y + image * y_.batch_stride + own * y_.row_stride, spare);
  }
}

// Computes all columns of a row whose lines are there.
void FirstConv::run_row(FirstConvRow& row, uint8_t* y, uint8_t* spare) const {
  const size_t channels = static_cast<size_t>(y_.channels);
  const bool narrow = y_.width < kFirstConvPixels;
  row.y_step = narrow ? static_cast<ptrdiff_t>(kPanelColumns) : y_.pixel_stride;
  row.remainder_count = remainders_.size();
  for (size_t i = 0; i < scales_.size(); ++i, y += kPanelColumns) {
    row.panel = weights_.data() + i * panel_size_;
    row.scales = &scales_[i];
    row.columns = std::min(kPanelColumns, channels - i * kPanelColumns);
    row.y = narrow ? spare : y;
    kernel_(row);
    row.remainder_count = 0;
    for (int64_t pixel = 0; narrow && pixel < y_.width; ++pixel) {
      std::memcpy(y + pixel * y_.pixel_stride, spare + pixel * row.y_step, row.columns);
    }
  }
}

}  // namespace furiosa::kernels
