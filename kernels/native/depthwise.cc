#include "kernels/native/depthwise.h"

#include <algorithm>
#include <cstdlib>

namespace furiosa::kernels {
namespace {

constexpr int64_t kThreadWork = 50'000;  // multiply-adds that are worth a thread of their own
// Groups of rows whose channels are computed panel after panel: their input stays in the cache.
constexpr int64_t kBlockGroups = DepthwiseRows::kMaxParts;

size_t parts_for(size_t columns) { return columns > 32 ? 1 : columns > 16 ? 2 : 4; }

// Lines are taken in fours.
int64_t lines_for(const Window& window) { return (window.kernel_h + 3) / 4 * 4; }

// Output rows of a group: as many as the lines for one row suffice for.
int64_t rows_for(const Window& window) {
  if (window.dilation_h != 1) return 1;
  const int64_t rows = (lines_for(window) - window.kernel_h) / window.stride_h + 1;
  return std::min(rows, static_cast<int64_t>(DepthwiseRows::kMaxRows));
}

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
         !problem.epilogue.to_float && depthwise_row_kernel(isa, problem.window) != nullptr &&
         problem.epilogue.bounded;
}

DepthwiseConv::DepthwiseConv(const ConvProblem& problem, Isa isa)
    : kernel_(depthwise_row_kernel(isa, problem.window)),
      x_(problem.x),
      y_(problem.y),
      residual_(problem.residual),
      window_(problem.window),
      epilogue_(problem.epilogue),
      rows_(rows_for(problem.window)),
      groups_((problem.y.height + rows_ - 1) / rows_),
      outside_(kPanelColumns, problem.x_zero_point) {
  pack(problem, depthwise_kernels(isa));
}

void DepthwiseConv::pack(const ConvProblem& problem, const PanelKernels& kernels) {
  const size_t height = static_cast<size_t>(window_.kernel_h);
  const size_t width = static_cast<size_t>(window_.kernel_w);
  const size_t lines = static_cast<size_t>(lines_for(window_)), row_taps = lines * width;
  const size_t taps = static_cast<size_t>(rows_) * row_taps;
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
    // [64 columns][row][kernel_w][line], the channels repeated for each part.
    std::vector<uint8_t> ordered(kPanelColumns * taps);
    for (size_t column = 0; column < kPanelColumns; ++column) {
      if (column % part_columns >= panel.columns) continue;
      const size_t channel = panel.first_column + column % part_columns;
      const int8_t* weights = problem.weights + channel * height * width;
      int32_t sum = 0;
      for (size_t tap = 0; tap < height * width; ++tap) {
        sum += weights[tap];
        for (size_t row = 0; row < static_cast<size_t>(rows_); ++row) {
          const size_t line = tap / width + row * static_cast<size_t>(window_.stride_h);
          ordered[column * taps + row * row_taps + tap % width * lines + line] =
              static_cast<uint8_t>(weights[tap]);
        }
      }
      const size_t slot = kernels.slot(column, kPanelColumns);
      // Modulo 2^32, as the kernels add.
      scales_[i].bias[slot] = static_cast<int32_t>(static_cast<uint32_t>(problem.bias[channel]) -
                                                   static_cast<uint32_t>(problem.x_zero_point) *
                                                       static_cast<uint32_t>(sum));
      scales_[i].multiplier[slot] = problem.multiplier[channel];
    }
    const PanelSource source{ordered.data(), 1, 1, static_cast<ptrdiff_t>(taps), taps, 1,
                             kPanelColumns,  0};
    kernels.pack(source, weights_.data() + panel.offset, nullptr);
  }
}

void DepthwiseConv::run(const uint8_t* x, uint8_t* y, const uint8_t* residual,
                        ThreadPool& pool) const {
  const int64_t groups = y_.batch * groups_, panels = static_cast<int64_t>(panels_.size());
  const int64_t work = y_.pixels() * y_.channels * window_.taps();
  const int64_t threads = std::min(static_cast<int64_t>(pool.concurrency()), work / kThreadWork);
  const int64_t tasks = std::max<int64_t>(1, threads > 1 ? 2 * threads : 1);
  // Rows are shared where there are enough of them for equal shares, otherwise channels.
  const bool by_panel = panels >= 2 * tasks && groups < 8 * tasks;
  const int64_t panel_tasks = by_panel ? tasks : 1;
  const int64_t group_tasks = by_panel ? 1 : std::min(tasks, groups);
  pool.parallel_for(static_cast<size_t>(panel_tasks * group_tasks), [&](size_t task) {
    const int64_t across = static_cast<int64_t>(task) / panel_tasks;
    const int64_t along = static_cast<int64_t>(task) % panel_tasks;
    const int64_t last_group = groups * (across + 1) / group_tasks;
    const int64_t last_panel = panels * (along + 1) / panel_tasks;
    for (int64_t first = groups * across / group_tasks; first < last_group; first += kBlockGroups) {
      const int64_t last = std::min(last_group, first + kBlockGroups);
      for (int64_t i = panels * along / panel_tasks; i < last_panel; ++i) {
        const int64_t next = i + 1 < last_panel ? i + 1 : i;
        run_groups(static_cast<size_t>(i), static_cast<size_t>(next), first, last, x, y, residual);
      }
    }
  });
}

void DepthwiseConv::run_groups(size_t index, size_t next_panel, int64_t first, int64_t last,
                               const uint8_t* x, uint8_t* y, const uint8_t* residual) const {
  const Panel& panel = panels_[index];
  DepthwiseRows rows{};
  rows.parts = panel.parts;
  rows.rows = static_cast<size_t>(rows_);
  rows.columns = panel.columns;
  rows.first_column = panel.first_column;
  const int64_t columns = static_cast<int64_t>(panel.columns);
  rows.gapless = x_.pixel_stride == columns && y_.pixel_stride == columns;
  rows.width = y_.width;
  rows.pad = window_.pad_left;
  rows.input_width = x_.width;
  rows.outside = outside_.data();
  rows.panel = weights_.data() + panel.offset;
  rows.scales = &scales_[index];
  rows.y_step = y_.pixel_stride;
  rows.residual_step = residual_.pixel_stride;
  rows.epilogue = &epilogue_;
  const ptrdiff_t column = static_cast<ptrdiff_t>(panel.first_column);
  x += column;
  y += column;
  if (epilogue_.add_residual) residual += column;
  for (; first < last; first += static_cast<int64_t>(panel.parts)) {
    for (size_t part = 0; part < panel.parts; ++part) {
      const int64_t group = first + static_cast<int64_t>(part);
      point_rows(&rows, part, std::min(group, last - 1), x, y, residual);
      if (group >= last) std::fill_n(rows.y[part], DepthwiseRows::kMaxRows, nullptr);
    }
    const bool ends = first + static_cast<int64_t>(panel.parts) >= last && next_panel != index;
    rows.next_panel = ends ? weights_.data() + panels_[next_panel].offset : nullptr;
    kernel_(rows);
  }
}

// Points a part at the rows of a group and at their input.
void DepthwiseConv::point_rows(DepthwiseRows* rows, size_t part, int64_t group, const uint8_t* x,
                               uint8_t* y, const uint8_t* residual) const {
  const int64_t image = group / groups_, first = group % groups_ * rows_;
  const int64_t top = first * window_.stride_h - window_.pad_top;
  const int64_t needed = (rows_ - 1) * window_.stride_h + window_.kernel_h;
  for (int64_t i = 0; i < lines_for(window_); ++i) {
    const int64_t line = top + i * window_.dilation_h;
    const bool inside = i < needed && line >= 0 && line < x_.height;
    rows->lines[part][i] =
        inside ? DepthwiseRows::Line{x + image * x_.batch_stride + line * x_.row_stride,
                                     x_.pixel_stride}
               : DepthwiseRows::Line{outside_.data(), 0};
  }
  for (int64_t i = 0; i < rows_; ++i) {
    const int64_t row = first + i;
    const bool inside = row < y_.height;
    rows->y[part][i] = inside ? y + image * y_.batch_stride + row * y_.row_stride : nullptr;
    if (!epilogue_.add_residual || !inside) continue;
    rows->residual[part][i] =
        residual + image * residual_.batch_stride + row * residual_.row_stride;
  }
}

}  // namespace furiosa::kernels
