#ifndef FURIOSA_KERNELS_NATIVE_AVX2_DEPTHWISE_LINES_H_
#define FURIOSA_KERNELS_NATIVE_AVX2_DEPTHWISE_LINES_H_

// Depthwise rows, column after column of the input: the lines of a column are interleaved once, on
// panels of depthwise_panel.h. A column belongs to the windows of several output pixels, whose
// accumulators move one place on for each pixel.

#include <immintrin.h>

#include "kernels/native/avx2/depthwise_panel.h"
#include "kernels/native/depthwise.h"

namespace furiosa::kernels::avx2 {
namespace {

// What fills a vector: 32 channels of one part from `column` on, or 16 channels of two parts.
struct Half {
  size_t part;
  size_t column;
  size_t count;   // channels
  size_t stored;  // parts
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
  if (stride == 0) return shared[bytes];
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
                                     const RowTables& tables, ptrdiff_t pixel, __m256i bytes) {
  const Epilogue& epilogue = *rows.epilogue;
  const size_t channel = rows.first_column + half.column;
  bytes = look_up(tables.own, epilogue.table, epilogue.table_stride, channel, kParts, half.count,
                  bytes);
  if (!epilogue.add_residual) return bytes;
  const uint8_t* from[kParts];
  for (size_t part = 0; part < kParts; ++part) {
    const size_t own = part < half.stored ? part : 0;
    from[part] = rows.residual[half.part + own] + pixel * rows.residual_step + half.column;
  }
  bytes = Adder(epilogue)(bytes, load_parts<kParts>(from, half.count));
  return look_up(tables.residual, epilogue.residual_table, epilogue.residual_table_stride, channel,
                 kParts, half.count, bytes);
}

// Windows are kWidth columns wide; of each, kUnits units of lines are multiplied, and the panel has
// kPacked.
template <class Units, int kUnits, int kPacked, int kWidth, int kStride, int kParts, bool kWhole>
struct HalfRow {
  static constexpr int kUnit = Units::kUnit;
  static constexpr int kLive = (kWidth + kStride - 1) / kStride;  // pixels that share a column

  const DepthwiseRows& rows;
  const Half& half;
  const RowTables& tables;
  const Requantiser requantise;
  const size_t count;
  __m256i sums[kLive][4];

  FURIOSA_INLINE HalfRow(const DepthwiseRows& all, const Half& own, const RowTables& shared)
      : rows(all),
        half(own),
        tables(shared),
        requantise(*all.epilogue),
        count(kWhole ? 32 / kParts : own.count) {
    FURIOSA_UNROLL for (int d = 0; d < kLive; ++d) restart(d);
  }

  FURIOSA_INLINE void restart(int d) {
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      sums[d][v] = _mm256_load_si256(reinterpret_cast<const __m256i*>(half.bias) + v);
    }
  }

  // Adds column `at` of the image, which is column `kx` of the window of the first live pixel.
  FURIOSA_INLINE void add_column(ptrdiff_t at, int kx) {
    const bool inside = static_cast<size_t>(at) < static_cast<size_t>(rows.input_width);
    FURIOSA_UNROLL for (int u = 0; u < kUnits; ++u) {
      __m256i lines[kUnit], units[4];
      FURIOSA_UNROLL for (int i = 0; i < kUnit; ++i) {
        const uint8_t* from[kParts];
        FURIOSA_UNROLL for (size_t part = 0; part < kParts; ++part) {
          const DepthwiseRows::Line& line = rows.lines[half.part + part][kUnit * u + i];
          from[part] = inside ? line.start + at * line.step + half.column : rows.outside;
        }
        lines[i] = load_parts<kParts>(from, count);
      }
      Units::interleave(lines, units);
      FURIOSA_UNROLL for (int d = 0; d < kLive; ++d) {
        const int own = kx - d * kStride;
        if (own < 0) continue;
        FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
          Units::dot(sums[d][v], units[v], half.weights + (own * kPacked + u) * 4 + v);
        }
      }
    }
  }

  FURIOSA_INLINE void finish(ptrdiff_t pixel) {
    __m256i bytes = requantise.template bytes<4>(sums[0], half.multiplier);
    if (!rows.epilogue->plain()) bytes = finish_any<kParts>(rows, half, tables, pixel, bytes);
    uint8_t* to[kParts];
    FURIOSA_UNROLL for (size_t part = 0; part < kParts; ++part) {
      to[part] = rows.y[half.part + part] + pixel * rows.y_step + half.column;
    }
    store_parts<kParts>(to, count, bytes, half.stored);
    FURIOSA_UNROLL for (int d = 0; d + 1 < kLive; ++d) {
      FURIOSA_UNROLL for (int v = 0; v < 4; ++v) sums[d][v] = sums[d + 1][v];
    }
    restart(kLive - 1);
  }
};

template <class Row, int kWidth, int kStride>
void run_row(const DepthwiseRows& rows, const Half& half, const RowTables& tables) {
  Row row(rows, half, tables);
  FURIOSA_UNROLL for (int kx = 0; kx < kWidth - kStride; ++kx) row.add_column(kx - rows.pad, kx);
  ptrdiff_t column = -rows.pad;
  for (ptrdiff_t pixel = 0; pixel < rows.width; ++pixel, column += kStride) {
    FURIOSA_UNROLL for (int kx = kWidth - kStride; kx < kWidth; ++kx) {
      row.add_column(column + kx, kx);
    }
    row.finish(pixel);
  }
}

// The DepthwiseRowKernel of a window.
template <class Units, int kUnits, int kPacked, int kWidth, int kStride>
void run_lines(const DepthwiseRows& rows) {
  const auto shared = [](const uint8_t* table, size_t stride) {
    return Table(stride == 0 ? table : nullptr);
  };
  const Epilogue& epilogue = *rows.epilogue;
  const RowTables tables{shared(epilogue.table, epilogue.table_stride),
                         shared(epilogue.residual_table, epilogue.residual_table_stride)};
  for (size_t i = 0; i < 2; ++i) {
    Half half{};
    half.part = rows.parts == 1 ? 0 : i * rows.parts / 2;
    half.column = rows.parts == 1 ? i * kHalf : 0;
    if (half.part >= rows.stored_parts || half.column >= rows.columns) break;
    half.count = rows.columns - half.column;
    half.stored = rows.stored_parts - half.part;
    half.weights = reinterpret_cast<const __m256i*>(rows.panel) + i * kWidth * kPacked * 4;
    half.bias = rows.scales->bias + i * kHalf;
    half.multiplier = rows.scales->multiplier + i * kHalf;
    const auto run = [&]<int kParts, bool kWhole>() {
      run_row<HalfRow<Units, kUnits, kPacked, kWidth, kStride, kParts, kWhole>, kWidth, kStride>(
          rows, half, tables);
    };
    if (rows.parts == 4) {
      half.count == 16 ? run.template operator()<2, true>() : run.template operator()<2, false>();
    } else {
      half.count >= 32 ? run.template operator()<1, true>() : run.template operator()<1, false>();
    }
  }
}

}  // namespace
}  // namespace furiosa::kernels::avx2

#endif  // FURIOSA_KERNELS_NATIVE_AVX2_DEPTHWISE_LINES_H_
