#include "kernels/native/conv.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/native/vector_kernels.h"

namespace furiosa::kernels {
namespace {

// Output pixels of a block: enough to use a panel of weights often while it is in the nearest
// cache, few enough that their inputs and outputs stay in the next one. A multiple of the tile
// heights 7, 14 and 28.
constexpr int64_t kBlockRows = 224;
constexpr int64_t kBlockPointers = 4096;  // most addresses of input pixels that a block holds
// Input channels up to which it pays to copy rows so that a kernel row is one run of bytes.
constexpr int64_t kGatherChannels = 64;
constexpr int64_t kGatherRows = 448;         // output pixels of a block that gathers, at least,
constexpr int64_t kGatherBytes = 64 * 1024;  // and bytes that it may gather to take more
// Multiply-adds that are worth a thread of their own, and that make up a task where there are many.
constexpr int64_t kThreadWork = 400'000;
constexpr int64_t kTaskWork = 4'000'000;
constexpr int64_t kTaskRows = 28;  // output pixels below which a thread gets no second task
constexpr int64_t kByteWork = 4;   // multiply-adds in the time that it takes to read a byte

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Columns of the next panel of a matrix product where `left` are left. Panels of 16 columns read
// most bytes for each product: rather two of 48 and 32 than of 64 and 16.
size_t panel_columns(size_t left) {
  const bool narrow_rest = left > kPanelColumns && left <= kPanelColumns + 16;
  return std::min(left, narrow_rest ? kPanelColumns - 16 : kPanelColumns);
}

int64_t work(const ConvProblem& problem) {
  return problem.window.taps() * (problem.x.channels / problem.group) * problem.y.channels *
         problem.y.pixels();
}

}  // namespace

// The weights of a problem as int8, [column][tap][channel].
struct Conv::Weights {
  std::vector<uint8_t> storage;
  const uint8_t* data = nullptr;
  size_t columns = 0;
  size_t taps = 0;
  size_t depth = 0;

  // Repeats the taps so often that int16 weights are sums of int8 weights; returns how often.
  size_t divide(const int16_t* wide) {
    const size_t size = taps * depth;
    int copies = 1;
    for (size_t i = 0; i < columns * size; ++i) {
      const int magnitude = wide[i] < 0 ? -wide[i] : wide[i];
      copies = std::max(copies, (magnitude + 126) / 127);
    }
    storage.resize(columns * static_cast<size_t>(copies) * size);
    uint8_t* to = storage.data();
    for (size_t column = 0; column < columns; ++column, to += static_cast<size_t>(copies) * size) {
      for (size_t i = 0; i < size; ++i) {
        int rest = wide[column * size + i];
        for (int copy = 0; copy < copies; ++copy) {
          const int part = std::clamp(rest, -127, 127);
          to[static_cast<size_t>(copy) * size + i] = static_cast<uint8_t>(part);
          rest -= part;
        }
      }
    }
    data = storage.data();
    taps *= static_cast<size_t>(copies);
    return static_cast<size_t>(copies);
  }

  // Adds zeros to each tap up to `padded` channels.
  void pad(size_t padded) {
    if (padded == depth) return;
    std::vector<uint8_t> wider(columns * taps * padded);
    for (size_t i = 0; i < columns * taps; ++i) {
      std::memcpy(wider.data() + i * padded, data + i * depth, depth);
    }
    storage = std::move(wider);
    data = storage.data();
    depth = padded;
  }
};

Conv::Conv(const ConvProblem& problem, Isa isa)
    : x_(problem.x),
      y_(problem.y),
      residual_(problem.residual),
      window_(problem.window),
      epilogue_(problem.epilogue),
      x_zero_point_(problem.x_zero_point),
      work_(work(problem)),
      outside_(static_cast<size_t>(problem.x.channels), problem.x_zero_point) {
  if (work_ == 0) return;
  if (DepthwiseConv::fits(problem, isa)) {
    depthwise_ = std::make_unique<DepthwiseConv>(problem, isa);
    return;
  }
  if (FirstConv::fits(problem, isa)) {
    first_ = std::make_unique<FirstConv>(problem, isa);
    return;
  }
  const bool depthwise =
      problem.group > 1 && problem.group == x_.channels && problem.group == y_.channels;
  if (isa == Isa::kAvx512Vnni && !depthwise && epilogue_.table_stride != 0 &&
      !epilogue_.add_residual) {
    // Its GEMM knows one table: the bytes of a block go through those of the columns afterwards.
    tables_ = std::exchange(epilogue_.table, nullptr);
    epilogue_.table_stride = 0;
    look_up_ = vector_kernels(isa).lookup_columns;
  }
  gather_ = problem.group == 1 && window_.kernel_w > 1 && window_.dilation_w == 1 &&
            x_.channels <= kGatherChannels && (window_.kernel_h == 1 || window_.dilation_h == 1) &&
            window_.stride_h * window_.stride_w <= 4 * window_.taps();
  kernels_ = depthwise ? &depthwise_kernels(isa) : &gemm_kernels(isa);
  if (problem.group == 1) {
    // The depth of a gathered tap is padded.
    const size_t depth = gather_ ? 4 : static_cast<size_t>(x_.channels);
    kernels_ = &gemm_kernels(isa, static_cast<size_t>(y_.channels), depth, epilogue_);
  }
  pack(problem, depthwise);
  steps_ = gather_ && copies_ == 1 && kernels_->tap_steps;
  const int64_t fitting = kBlockPointers / static_cast<int64_t>(taps_) / 28 * 28;
  block_rows_ = std::clamp<int64_t>(fitting, 28, kBlockRows);
  if (gather_) {
    // Blocks of whole rows gather least; of rows too long for that, parts.
    const int64_t row = window_.stride_h * x_.width * x_.channels;
    const int64_t rows = std::max<int64_t>(kGatherBytes / row, kGatherRows / y_.width);
    block_rows_ = rows > 0 ? rows * y_.width : kGatherRows;
  }
}

void Conv::pack(const ConvProblem& problem, bool depthwise) {
  const int64_t group_depth = x_.channels / problem.group;
  const size_t taps = static_cast<size_t>(gather_ ? window_.kernel_h : window_.taps());
  const int64_t tap_depth = gather_ ? window_.kernel_w * group_depth : group_depth;
  Weights weights{{},
                  reinterpret_cast<const uint8_t*>(problem.weights),
                  static_cast<size_t>(y_.channels),
                  taps,
                  static_cast<size_t>(tap_depth)};
  if (problem.wide_weights != nullptr) copies_ = weights.divide(problem.wide_weights);
  if (gather_) weights.pad((weights.depth + 3) / 4 * 4);
  taps_ = weights.taps;
  depth_ = weights.depth;

  // A depthwise panel spans groups: there is one for each kPanelColumns channels.
  const size_t groups = depthwise ? 1 : static_cast<size_t>(problem.group);
  const size_t group_columns = weights.columns / groups;
  size_t size = 0;
  for (size_t column = 0; column < weights.columns;) {
    const size_t group = column / group_columns;
    const size_t left = (group + 1) * group_columns - column;
    const size_t columns = depthwise ? std::min(kPanelColumns, left) : panel_columns(left);
    const int64_t first_channel =
        depthwise ? static_cast<int64_t>(column) : static_cast<int64_t>(group) * group_depth;
    panels_.push_back({size, first_channel, column, columns});
    size += (kernels_->panel_size(taps_, depth_, columns) + 63) / 64 * 64;
    column += columns;
  }
  weights_ = AlignedBuffer<uint8_t>(size);
  scales_ = AlignedBuffer<PanelScales>(panels_.size());
  const size_t column_size = taps_ * depth_;
  for (size_t i = 0; i < panels_.size(); ++i) {
    const Panel& panel = panels_[i];
    const PanelSource source{weights.data + panel.first_column * column_size,
                             static_cast<ptrdiff_t>(depth_),
                             1,
                             static_cast<ptrdiff_t>(column_size),
                             taps_,
                             depth_,
                             panel.columns,
                             0};
    int32_t sums[kPanelColumns];
    kernels_->pack(source, weights_.data() + panel.offset, sums);
    for (size_t column = 0; column < panel.columns; ++column) {
      const size_t slot = kernels_->slot(column, panel.columns);
      const uint32_t correction = x_zero_point_ * static_cast<uint32_t>(sums[column]);
      const uint32_t bias = static_cast<uint32_t>(problem.bias[panel.first_column + column]);
      scales_[i].bias[slot] = static_cast<int32_t>(bias - correction);
      scales_[i].multiplier[slot] = problem.multiplier[panel.first_column + column];
    }
  }
}

// The first panel of part `part` when the columns are split into `parts`.
size_t Conv::first_panel(int64_t part, int64_t parts) const {
  const int64_t column = y_.channels * part / parts;
  size_t panel = 0;
  while (panel < panels_.size() && 2 * static_cast<int64_t>(panels_[panel].first_column) +
                                           static_cast<int64_t>(panels_[panel].columns) <=
                                       2 * column) {
    ++panel;
  }
  return part == parts ? panels_.size() : panel;
}

// What the longest of so many tasks takes: its products, and the bytes that it is the first to
// read.
int64_t Conv::longest(int64_t pixel_tasks, int64_t panel_tasks) const {
  int64_t columns = 0;
  for (int64_t part = 0; part < panel_tasks; ++part) {
    const size_t first = first_panel(part, panel_tasks), last = first_panel(part + 1, panel_tasks);
    int64_t own = 0;
    for (size_t panel = first; panel < last; ++panel) {
      own += static_cast<int64_t>(panels_[panel].columns);
    }
    columns = std::max(columns, own);
  }
  const int64_t pixels = ceil_div(y_.pixels(), pixel_tasks);
  const int64_t bytes =
      static_cast<int64_t>(weights_.size()) / panel_tasks + x_.pixels() * x_.channels / pixel_tasks;
  return work_ / (y_.pixels() * y_.channels) * pixels * columns + kByteWork * bytes;
}

// Into how many ranges of output pixels and of panels a run is split.
void Conv::split(int64_t threads, int64_t* pixel_tasks, int64_t* panel_tasks) const {
  const int64_t panels = static_cast<int64_t>(panels_.size()), pixels = y_.pixels();
  *pixel_tasks = *panel_tasks = 1;
  threads = std::min(threads, work_ / kThreadWork);
  if (threads <= 1) return;
  for (int64_t across = 1, least = 0; across <= std::min(threads, pixels); ++across) {
    const int64_t along = std::min(threads / across, panels);
    const int64_t time = longest(across, along);
    if (least != 0 && time >= least) continue;
    least = time;
    *pixel_tasks = across;
    *panel_tasks = along;
  }
  // Several tasks for a thread even out what disturbs it, but a task that goes from panel to panel
  // fetches the next one ahead.
  const int64_t tasks = work_ / kTaskWork / threads;
  const int64_t most = *pixel_tasks > 1 ? pixels / *pixel_tasks / kTaskRows : panels / threads / 4;
  const int64_t factor = std::clamp<int64_t>(std::min(tasks, most), 1, 4);
  (*pixel_tasks > 1 ? *pixel_tasks : *panel_tasks) *= factor;
}

void Conv::run(const uint8_t* x, void* y, const uint8_t* residual, ThreadPool& pool) const {
  if (work_ == 0) return;
  if (depthwise_ != nullptr) {
    return depthwise_->run(x, static_cast<uint8_t*>(y), residual, pool);
  }
  if (first_ != nullptr) return first_->run(x, static_cast<uint8_t*>(y), pool);
  int64_t pixel_tasks, panel_tasks;
  split(static_cast<int64_t>(pool.concurrency()), &pixel_tasks, &panel_tasks);
  const int64_t pixels = y_.pixels();
  pool.parallel_for(static_cast<size_t>(pixel_tasks * panel_tasks), [&](size_t task) {
    const int64_t across = static_cast<int64_t>(task) / panel_tasks;
    const int64_t along = static_cast<int64_t>(task) % panel_tasks;
    const Share share{pixels * across / pixel_tasks, pixels * (across + 1) / pixel_tasks,
                      first_panel(along, panel_tasks), first_panel(along + 1, panel_tasks)};
    run_share(share, x, y, residual);
  });
}

void Conv::run_share(const Share& share, const uint8_t* x, void* y, const uint8_t* residual) const {
  const int64_t image = y_.height * y_.width;
  for (int64_t first = share.first_pixel; first < share.last_pixel;) {
    int64_t left = share.last_pixel - first;
    if (gather_) left = std::min(left, image - first % image);  // gathers from one image
    int64_t count = std::min(left, block_rows_);
    if (gather_ && first % y_.width != 0) {
      count = std::min(count, y_.width - first % y_.width);  // from here on whole rows
    } else if (!gather_ && left > block_rows_) {
      // Blocks of equal height, in whole tiles.
      count = std::min(count, ceil_div(ceil_div(left, ceil_div(left, block_rows_)), 28) * 28);
    }
    run_block(share, first, static_cast<size_t>(count), x, y, residual);
    first += count;
  }
}

// The rectangle of output pixels around [first, first + count), which are of one image.
Rectangle Conv::around(int64_t first, size_t count) const {
  const PixelPosition start(y_, first);
  const PixelPosition end(y_, first + static_cast<int64_t>(count) - 1);
  const bool one_row = start.row == end.row;
  return {start.row, one_row ? start.column : 0, end.row - start.row + 1,
          one_row ? end.column - start.column + 1 : y_.width};
}

// The input pixels that a block reads.
Rectangle Conv::gathered(int64_t first, size_t count) const {
  return input_of(window_, around(first, count));
}

// Copies the input that the block reads, padded, and points rows at the first taps in the copies.
void Conv::gather(const uint8_t* x, int64_t first, size_t count, uint8_t* copies,
                  const uint8_t** rows) const {
  const Rectangle output = around(first, count), input = gathered(first, count);
  const PixelPosition start(y_, first);
  copy_rectangle(x_, x + start.image * x_.batch_stride, x_zero_point_, input, copies);
  const int64_t line = input.width * x_.channels;
  const int64_t step = window_.stride_w * x_.channels;
  // A run of pixels in one output row at a time.
  size_t run = static_cast<size_t>(output.width - start.column + output.left);
  const uint8_t* at = copies + (start.column - output.left) * step;
  for (size_t done = 0; done < count; done += run, run = static_cast<size_t>(output.width)) {
    run = std::min(run, count - done);
    for (size_t i = 0; i < run; ++i) rows[done + i] = at + static_cast<int64_t>(i) * step;
    copies += window_.stride_h * line;
    at = copies;
  }
}

void Conv::run_block(const Share& share, int64_t first, size_t count, const uint8_t* x, void* y,
                     const uint8_t* residual) const {
  const size_t distinct = taps_ / copies_, listed = steps_ ? 1 : taps_;
  const size_t pitch = count + kSpareRows, addresses = pitch * (listed + 2);
  const size_t element = epilogue_.to_float ? sizeof(float) : 1;
  size_t copied = 0;
  ptrdiff_t tap_step = 0;
  if (gather_) {
    const Rectangle input = gathered(first, count);
    copied = static_cast<size_t>(input.height * input.width * x_.channels);
    tap_step = window_.dilation_h * input.width * x_.channels;
  }
  const size_t spare = static_cast<size_t>(y_.channels) * element;  // a row that nobody reads
  uint8_t* scratch = thread_scratch(addresses * sizeof(void*) + spare + copied + 64);
  const uint8_t** rows = reinterpret_cast<const uint8_t**>(scratch);
  uint8_t* spare_row = scratch + addresses * sizeof(void*);
  if (gather_) {
    gather(x, first, count, spare_row + spare, rows);
    for (size_t tap = 1; !steps_ && tap < distinct; ++tap) {
      for (size_t i = 0; i < count; ++i) {
        rows[tap * pitch + i] = rows[i] + static_cast<ptrdiff_t>(tap) * tap_step;
      }
    }
  } else if (window_.identity() && x_.flat() && x_.height == y_.height && x_.width == y_.width) {
    point_pixels(x_, x, 1, first, count, reinterpret_cast<const void**>(rows));
  } else {
    point_taps(x_, y_, window_, x, outside_.data(), first, count, rows, pitch);
  }
  for (size_t tap = 0; tap < (steps_ ? 1 : distinct); ++tap) {
    std::fill_n(rows + tap * pitch + count, kSpareRows, rows[tap * pitch]);
  }
  for (size_t copy = 1; copy < copies_; ++copy) {
    std::memcpy(rows + copy * distinct * pitch, rows, distinct * pitch * sizeof(*rows));
  }
  const void** outputs = reinterpret_cast<const void**>(rows + listed * pitch);
  const void** residuals = outputs + pitch;
  point_pixels(y_, y, element, first, count, outputs);
  std::fill_n(outputs + count, kSpareRows, spare_row);
  if (epilogue_.add_residual) {
    point_pixels(residual_, residual, 1, first, count, residuals);
    std::fill_n(residuals + count, kSpareRows, residuals[0]);
  }

  PanelBlock block{};
  block.rows = rows;
  block.row_pitch = steps_ ? 0 : pitch;
  block.tap_step = steps_ ? tap_step : 0;
  block.row_count = count;
  block.taps = taps_;
  block.depth = depth_;
  block.y = const_cast<void* const*>(outputs);
  block.residual = reinterpret_cast<const uint8_t* const*>(residuals);
  block.epilogue = &epilogue_;
  for (size_t i = share.first_panel; i < share.last_panel; ++i) {
    const Panel& panel = panels_[i];
    block.row_offset = panel.row_offset;
    block.panel = weights_.data() + panel.offset;
    block.next_panel = i + 1 < share.last_panel ? weights_.data() + panels_[i + 1].offset : nullptr;
    block.scales = &scales_[i];
    block.first_column = panel.first_column;
    block.columns = panel.columns;
    kernels_->run(block);
  }
  if (tables_ != nullptr) look_up(share, first, static_cast<int64_t>(count), y);
}

// Takes the columns of a share of pixels [first, first + count) through their tables.
void Conv::look_up(const Share& share, int64_t first, int64_t count, void* y) const {
  if (share.first_panel == share.last_panel) return;
  const Panel& last = panels_[share.last_panel - 1];
  const size_t column = panels_[share.first_panel].first_column;
  const size_t columns = last.first_column + last.columns - column;
  for (int64_t done = 0; done < count;) {  // runs of pixels that are equally far apart
    const PixelPosition at(y_, first + done);
    const int64_t run = y_.flat() ? count : std::min(count - done, y_.width - at.column);
    const int64_t offset = at.image * y_.batch_stride + at.row * y_.row_stride +
                           at.column * y_.pixel_stride + static_cast<int64_t>(column);
    uint8_t* data = static_cast<uint8_t*>(y) + offset;
    look_up_({data, y_.pixel_stride, data, y_.pixel_stride, static_cast<size_t>(run), columns,
              tables_ + column * 256});
    done += run;
  }
}

}  // namespace furiosa::kernels
