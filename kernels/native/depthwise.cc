#include "kernels/native/depthwise.h"

#include <algorithm>

namespace furiosa::kernels {
namespace {

constexpr int64_t kThreadWork = 50'000;  // multiply-adds that are worth a thread of their own
// Output rows whose channels are computed panel after panel: their input stays in the cache.
constexpr int64_t kBlockRows = DepthwiseRows::kMaxParts;

size_t parts_for(size_t columns) { return columns > 32 ? 1 : columns > 16 ? 2 : 4; }

}  // namespace

DepthwiseRowKernel depthwise_row_kernel([[maybe_unused]] Isa isa, const Window& window) {
  if (window.dilation_w != 1) return nullptr;
#if defined(__x86_64__)
  const auto kernel = isa >= Isa::kAvx512Vnni ? depthwise_row_kernel_avx512vnni
                      : isa >= Isa::kAvxVnni  ? depthwise_row_kernel_avxvnni
                                              : depthwise_row_kernel_avx2;
  if (isa >= Isa::kAvx2) return kernel(window.kernel_h, window.kernel_w, window.stride_w);
#endif
  return nullptr;
}

bool DepthwiseConv::fits(const ConvProblem& problem, Isa isa) {
  return problem.group > 1 && problem.group == problem.x.channels &&
         problem.group == problem.y.channels && problem.weights != nullptr &&
         !problem.epilogue.to_float && depthwise_row_kernel(isa, problem.window) != nullptr;
}

DepthwiseConv::DepthwiseConv(const ConvProblem& problem, Isa isa)
    : kernel_(depthwise_row_kernel(isa, problem.window)),
      x_(problem.x),
      y_(problem.y),
      residual_(problem.residual),
      window_(problem.window),
      epilogue_(problem.epilogue),
      outside_(kPanelColumns, problem.x_zero_point) {
  pack(problem, depthwise_kernels(isa));
}

void DepthwiseConv::pack(const ConvProblem& problem, const PanelKernels& kernels) {
  const size_t height = static_cast<size_t>(window_.kernel_h);
  const size_t width = static_cast<size_t>(window_.kernel_w);
  const size_t lines = (height + 3) / 4 * 4, taps = width * lines;
  const size_t channels = static_cast<size_t>(y_.channels);
  const size_t panel_size = kernels.panel_size(taps, 1, kPanelColumns);
  for (size_t column = 0; column < channels;) {
    const size_t columns = std::min(kPanelColumns, channels - column);
    panels_.push_back({panels_.size() * panel_size, column, columns, parts_for(columns)});
    column += columns;
  }
  weights_ = AlignedBuffer<uint8_t>(panels_.size() * panel_size);
  scales_ = AlignedBuffer<PanelScales>(panels_.size());
  for (size_t i = 0; i < panels_.size(); ++i) {
    const Panel& panel = panels_[i];
    const size_t part_columns = kPanelColumns / panel.parts;
    // [64 columns][kernel_w][lines], the channels repeated for each part.
    std::vector<uint8_t> ordered(kPanelColumns * taps);
    for (size_t column = 0; column < kPanelColumns; ++column) {
      if (column % part_columns >= panel.columns) continue;
      const size_t channel = panel.first_column + column % part_columns;
      for (size_t tap = 0; tap < height * width; ++tap) {
        ordered[column * taps + tap % width * lines + tap / width] =
            static_cast<uint8_t>(problem.weights[channel * height * width + tap]);
      }
    }
    const PanelSource source{ordered.data(), 1, 1, static_cast<ptrdiff_t>(taps), taps, 1,
                             kPanelColumns,  0};
    int32_t sums[kPanelColumns];
    kernels.pack(source, weights_.data() + panel.offset, sums);
    for (size_t column = 0; column < kPanelColumns; ++column) {
      if (column % part_columns >= panel.columns) continue;
      const size_t channel = panel.first_column + column % part_columns;
      const size_t slot = kernels.slot(column, kPanelColumns);
      const uint32_t correction = problem.x_zero_point * static_cast<uint32_t>(sums[column]);
      scales_[i].bias[slot] =
          static_cast<int32_t>(static_cast<uint32_t>(problem.bias[channel]) - correction);
      scales_[i].multiplier[slot] = problem.multiplier[channel];
    }
  }
}

void DepthwiseConv::run(const uint8_t* x, uint8_t* y, const uint8_t* residual,
                        ThreadPool& pool) const {
  const int64_t rows = y_.batch * y_.height, panels = static_cast<int64_t>(panels_.size());
  const int64_t work = y_.pixels() * y_.channels * window_.taps();
  const int64_t threads = std::min(static_cast<int64_t>(pool.concurrency()), work / kThreadWork);
  const int64_t tasks = std::max<int64_t>(1, threads > 1 ? 2 * threads : 1);
  // Rows are shared where there are enough of them for equal shares, otherwise channels.
  const bool by_panel = panels >= 2 * tasks && rows < 8 * tasks;
  const int64_t panel_tasks = by_panel ? tasks : 1;
  const int64_t row_tasks = by_panel ? 1 : std::min(tasks, rows);
  pool.parallel_for(static_cast<size_t>(panel_tasks * row_tasks), [&](size_t task) {
    const int64_t across = static_cast<int64_t>(task) / panel_tasks;
    const int64_t along = static_cast<int64_t>(task) % panel_tasks;
    const int64_t last_row = rows * (across + 1) / row_tasks;
    const int64_t last_panel = panels * (along + 1) / panel_tasks;
    for (int64_t row = rows * across / row_tasks; row < last_row; row += kBlockRows) {
      for (int64_t i = panels * along / panel_tasks; i < last_panel; ++i) {
        const size_t panel = static_cast<size_t>(i);
        run_rows(panels_[panel], scales_[panel], row, std::min(last_row, row + kBlockRows), x, y,
                 residual);
      }
    }
  });
}

void DepthwiseConv::run_rows(const Panel& panel, const PanelScales& scales, int64_t first,
                             int64_t last, const uint8_t* x, uint8_t* y,
                             const uint8_t* residual) const {
  DepthwiseRows rows{};
  rows.parts = panel.parts;
  rows.columns = panel.columns;
  rows.first_column = panel.first_column;
  rows.width = y_.width;
  rows.pad = window_.pad_left;
  rows.input_width = x_.width;
  rows.outside = outside_.data();
  rows.panel = weights_.data() + panel.offset;
  rows.scales = &scales;
  rows.y_step = y_.pixel_stride;
  rows.residual_step = residual_.pixel_stride;
  rows.epilogue = &epilogue_;
  const ptrdiff_t column = static_cast<ptrdiff_t>(panel.first_column);
  for (; first < last; first += static_cast<int64_t>(panel.parts)) {
    rows.stored_parts = std::min(panel.parts, static_cast<size_t>(last - first));
    for (size_t part = 0; part < panel.parts; ++part) {
      const int64_t row = first + static_cast<int64_t>(std::min(part, rows.stored_parts - 1));
      const int64_t image = row / y_.height, own = row % y_.height;
      const int64_t top = own * window_.stride_h - window_.pad_top;
      for (int64_t ky = 0; ky < static_cast<int64_t>(DepthwiseRows::kMaxLines); ++ky) {
        const int64_t input = top + ky * window_.dilation_h;
        const bool inside = ky < window_.kernel_h && input >= 0 && input < x_.height;
        rows.lines[part][ky] =
            inside
                ? DepthwiseRows::Line{x + image * x_.batch_stride + input * x_.row_stride + column,
                                      x_.pixel_stride}
                : DepthwiseRows::Line{outside_.data(), 0};
      }
      rows.y[part] = y + image * y_.batch_stride + own * y_.row_stride + column;
      if (epilogue_.add_residual) {
        rows.residual[part] =
            residual + image * residual_.batch_stride + own * residual_.row_stride + column;
      }
    }
    kernel_(rows);
  }
}

}  // namespace furiosa::kernels
