#ifndef FURIOSA_KERNELS_NATIVE_AVX2_DEPTHWISE_LINES_H_
#define FURIOSA_KERNELS_NATIVE_AVX2_DEPTHWISE_LINES_H_

// Depthwise rows, a strip of pixels at a time: the lines of its columns are interleaved once for
// all rows of a group, then kStep pixels share each load of weights.

#include <immintrin.h>

#include "kernels/native/avx2/depthwise_panel.h"
#include "kernels/native/depthwise.h"

namespace furiosa::kernels::avx2 {
namespace {

constexpr int kStep = 3;
constexpr int kStrip = 6 * kStep;  // pixels

// What fills a vector: 32 channels of one part from `column` on, or 16 channels of two parts.
struct Half {
  size_t part;
  size_t column;
  size_t count;  // channels
  const __m256i* weights;
  const int32_t* bias;
  const float* multiplier;
};

// Tables of rows, where all channels share them.
struct RowTables {
  Table own, residual;
};

// The table of a channel is that of its place within a part.
FURIOSA_INLINE __m256i look_up(const Table& shared, const uint8_t* table, size_t stride,
                               size_t first_channel, size_t parts, size_t count, __m256i bytes) {
  if (table == nullptr) return bytes;
  if (stride == 0) {
    __m256i indices[1] = {bytes};
    shared.look_up(indices);
    return indices[0];
  }
  alignas(32) uint8_t channels[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(channels), bytes);
  for (size_t c = 0; c < 32; ++c) {
    const size_t own = c % (32 / parts);
    if (own < count) channels[c] = table[(first_channel + own) * stride + channels[c]];
  }
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(channels));
}

// The epilogue with all it may have, out of line.
template <int kParts>
[[gnu::noinline]] __m256i finish_any(const DepthwiseRows& rows, const Half& half,
                                     const RowTables& tables, size_t row, ptrdiff_t pixel,
                                     __m256i bytes) {
  const Epilogue& epilogue = *rows.epilogue;
  const size_t channel = rows.first_column + half.column;
  bytes = look_up(tables.own, epilogue.table, epilogue.table_stride, channel, kParts, half.count,
                  bytes);
  if (!epilogue.add_residual) return bytes;
  static const uint8_t kNone[32] = {};  // the residual of a part that does not have the row
  const uint8_t* from[kParts];
  for (size_t part = 0; part < kParts; ++part) {
    const uint8_t* own = rows.residual[half.part + part][row];
    const bool there = rows.y[half.part + part][row] != nullptr;
    from[part] = there ? own + pixel * rows.residual_step + half.column : kNone;
  }
  bytes = Adder(epilogue)(bytes, load_parts<kParts>(from, half.count));
  return look_up(tables.residual, epilogue.residual_table, epilogue.residual_table_stride, channel,
                 kParts, half.count, bytes);
}

// Windows of up to kLines lines, a multiple of 4, by kWidth columns.
template <class Units, int kLines, int kWidth, int kStride, int kParts>
class Strip {
 public:
  FURIOSA_INLINE Strip(const DepthwiseRows& rows, const Half& half, const RowTables& tables)
      : rows_(rows), half_(half), tables_(tables), requantise_(*rows.epilogue) {}

  // Computes pixels [first, first + count) of all rows, count <= kStrip.
  FURIOSA_INLINE void run(ptrdiff_t first, int count) {
    const int columns = ((count + kStep - 1) / kStep * kStep - 1) * kStride + kWidth;
    const ptrdiff_t left = first * kStride - rows_.pad;
    half_.count >= 32 / kParts ? interleave<true>(left, columns) : interleave<false>(left, columns);
    for (size_t row = 0; row < rows_.rows; ++row) {
      for (int pixel = 0; pixel < count; pixel += kStep) {
        const int left_over = count - pixel;
        run_step(row, first, pixel, left_over < kStep ? left_over : kStep);
      }
    }
  }

 private:
  static constexpr int kUnit = Units::kUnit;
  static constexpr int kUnits = kLines / kUnit;
  static constexpr int kColumns = (kStrip - 1) * kStride + kWidth;

  using Column = __m256i[kUnits][4];

  // Interleaves columns [at, at + columns) of the image; whole where all channels are there.
  template <bool kWhole>
  FURIOSA_INLINE void interleave(ptrdiff_t at, int columns) {
    const size_t width = static_cast<size_t>(rows_.input_width);
    const size_t count = kWhole ? 32 / kParts : half_.count;
    const __m256i outside = _mm256_set1_epi8(static_cast<char>(*rows_.outside));
    const uint8_t* from[kLines][kParts];
    ptrdiff_t steps[kLines][kParts];
    FURIOSA_UNROLL for (int i = 0; i < kLines; ++i) {
      FURIOSA_UNROLL for (size_t part = 0; part < kParts; ++part) {
        const DepthwiseRows::Line& line = rows_.lines[half_.part + part][i];
        from[i][part] = line.start + at * line.step + half_.column;
        steps[i][part] = line.step;
      }
    }
    for (int column = 0; column < columns; ++column) {
      const bool inside = static_cast<size_t>(at + column) < width;
      FURIOSA_UNROLL for (int u = 0; u < kUnits; ++u) {
        __m256i taps[kUnit], units[2];
        FURIOSA_UNROLL for (int i = 0; i < kUnit; ++i) {
          const uint8_t** line = from[kUnit * u + i];
          taps[i] = inside ? load_parts<kParts>(line, count) : outside;
          FURIOSA_UNROLL for (size_t part = 0; part < kParts; ++part) {
            line[part] += steps[kUnit * u + i][part];
          }
        }
        __m256i* to = columns_[column][u];
        Units::template interleave<false>(taps, units);
        FURIOSA_UNROLL for (int v = 0; v < 2; ++v) _mm256_store_si256(to + v, units[v]);
        Units::template interleave<true>(taps, units);
        FURIOSA_UNROLL for (int v = 0; v < 2; ++v) _mm256_store_si256(to + 2 + v, units[v]);
      }
    }
  }

  // Computes `count` pixels of a row from `pixel` of the strip on.
  FURIOSA_INLINE void run_step(size_t row, ptrdiff_t first, int pixel, int count) {
    const __m256i* weights = half_.weights + row * kUnits * kWidth * 4;
    const Column* columns = columns_ + pixel * kStride;
    __m256i sums[kStep][4];
    FURIOSA_UNROLL for (int p = 0; p < kStep; ++p) {
      FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
        sums[p][v] = _mm256_load_si256(reinterpret_cast<const __m256i*>(half_.bias) + v);
      }
    }
    FURIOSA_UNROLL for (int kx = 0; kx < kWidth; ++kx, ++columns) {
      FURIOSA_UNROLL for (int u = 0; u < kUnits; ++u, weights += 4) {
        FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
          const __m256i held = _mm256_load_si256(weights + v);
          FURIOSA_UNROLL for (int p = 0; p < kStep; ++p) {
            const __m256i unit = _mm256_load_si256(&columns[p * kStride][u][v]);
            Units::dot(sums[p][v], unit, held);
            asm("" : "+x"(sums[p][v]));  // GCC 12 would change the order of sums, and spill
          }
        }
      }
    }
    FURIOSA_UNROLL for (int p = 0; p < kStep; ++p) {
      if (p < count) finish(row, first + pixel + p, sums[p]);
    }
  }

  FURIOSA_INLINE void finish(size_t row, ptrdiff_t pixel, const __m256i (&sums)[4]) const {
    __m256i bytes = requantise_.template bytes<4>(sums, half_.multiplier);
    if (!rows_.epilogue->plain()) {
      bytes = finish_any<kParts>(rows_, half_, tables_, row, pixel, bytes);
    }
    FURIOSA_UNROLL for (size_t part = 0; part < kParts; ++part) {
      uint8_t* to = rows_.y[half_.part + part][row];
      if (to == nullptr) continue;
      to += pixel * rows_.y_step + half_.column;
      if constexpr (kParts == 1) {
        store_parts<1>(&to, half_.count, bytes);
      } else {
        const __m128i own =
            part == 0 ? _mm256_castsi256_si128(bytes) : _mm256_extracti128_si256(bytes, 1);
        store_16(to, half_.count, own);
      }
    }
  }

  const DepthwiseRows& rows_;
  const Half& half_;
  const RowTables& tables_;
  const Requantiser requantise_;
  Column columns_[kColumns];
};

template <class Units, int kLines, int kWidth, int kStride, int kParts>
void run_strips(const DepthwiseRows& rows, const Half& half, const RowTables& tables) {
  Strip<Units, kLines, kWidth, kStride, kParts> strip(rows, half, tables);
  for (ptrdiff_t pixel = 0; pixel < rows.width; pixel += kStrip) {
    const ptrdiff_t left = rows.width - pixel;
    strip.run(pixel, static_cast<int>(left < kStrip ? left : kStrip));
  }
}

// The DepthwiseRowKernel of a window.
template <class Units, int kLines, int kWidth, int kStride>
void run_lines(const DepthwiseRows& rows) {
  const auto shared = [](const uint8_t* table, size_t stride) {
    return Table(stride == 0 ? table : nullptr);
  };
  const Epilogue& epilogue = *rows.epilogue;
  const RowTables tables{shared(epilogue.table, epilogue.table_stride),
                         shared(epilogue.residual_table, epilogue.residual_table_stride)};
  const size_t units = rows.rows * kWidth * (kLines / Units::kUnit);
  for (size_t i = 0; i < 2; ++i) {
    Half half{};
    half.part = rows.parts == 1 ? 0 : i * rows.parts / 2;
    half.column = rows.parts == 1 ? i * kHalf : 0;
    if (half.column >= rows.columns) break;
    half.count = rows.columns - half.column;
    half.weights = reinterpret_cast<const __m256i*>(rows.panel) + i * units * 4;
    half.bias = rows.scales->bias + i * kHalf;
    half.multiplier = rows.scales->multiplier + i * kHalf;
    if (rows.parts == 4) {
      run_strips<Units, kLines, kWidth, kStride, 2>(rows, half, tables);
    } else {
      run_strips<Units, kLines, kWidth, kStride, 1>(rows, half, tables);
    }
  }
}

// The kernels that there are.
template <class Units>
DepthwiseRowKernel lines_kernel(int64_t kernel_h, int64_t kernel_w, int64_t stride_w) {
  if (kernel_h <= 4 && kernel_w == 3 && stride_w == 1) return run_lines<Units, 4, 3, 1>;
  if (kernel_h <= 4 && kernel_w == 3 && stride_w == 2) return run_lines<Units, 4, 3, 2>;
  if (kernel_h <= 4 || kernel_h > 8 || kernel_w != 5) return nullptr;
  if (stride_w == 1) return run_lines<Units, 8, 5, 1>;
  if (stride_w == 2) return run_lines<Units, 8, 5, 2>;
  return nullptr;
}

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_DEPTHWISE_LINES_H_
