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
                                     const RowTables& tables, ptrdiff_t pixel, __m256i bytes) {
  const Epilogue& epilogue = *rows.epilogue;
  const size_t channel = rows.first_column + half.column;
  bytes = look_up(tables.own, epilogue.table, epilogue.table_stride, channel, kParts, half.count,
                  bytes);
  if (!epilogue.add_residual) return bytes;
  const uint8_t* from[kParts];
  for (size_t part = 0; part < kParts; ++part) {
    const size_t own = part < half.stored ? part : 0;
    from[part] = rows.residual[half.part + own][0] + pixel * rows.residual_step + half.column;
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
  const size_t input_width, count;
  const bool plain;
  const __m256i* const weights;
  const uint8_t* lines[kParts][kUnits * kUnit];  // at the next column
  uint8_t* to[kParts];                           // the next pixel
  __m256i sums[kLive][4];

  FURIOSA_INLINE HalfRow(const DepthwiseRows& all, const Half& own, const RowTables& shared)
      : rows(all),
        half(own),
        tables(shared),
        requantise(*all.epilogue),
        input_width(static_cast<size_t>(all.input_width)),
        count(kWhole ? 32 / kParts : own.count),
        plain(all.epilogue->plain()),
        weights(own.weights) {
    FURIOSA_UNROLL for (size_t part = 0; part < kParts; ++part) {
      FURIOSA_UNROLL for (size_t i = 0; i < kUnits * kUnit; ++i) {
        const DepthwiseRows::Line& line = rows.lines[half.part + part][i];
        lines[part][i] = line.start + half.column - rows.pad * line.step;
      }
      const size_t there = part < half.stored ? part : 0;
      to[part] = rows.y[half.part + there][0] + half.column;
    }
    FURIOSA_UNROLL for (int d = 0; d < kLive; ++d) restart(d);
  }

  FURIOSA_INLINE void restart(int d) {
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      sums[d][v] = _mm256_load_si256(reinterpret_cast<const __m256i*>(half.bias) + v);
    }
  }

  // Adds the lower or the upper half of the channels of one unit.
  template <bool kUpper>
  FURIOSA_INLINE void add_unit(const __m256i (&taps)[kUnit], int u, int kx) {
    constexpr int kFirst = kUpper ? 2 : 0;
    __m256i units[2];
    Units::template interleave<kUpper>(taps, units);
    FURIOSA_UNROLL for (int d = 0; d < kLive; ++d) {
      const int own = kx - d * kStride;
      if (own < 0) continue;
      FURIOSA_UNROLL for (int v = 0; v < 2; ++v) {
        Units::dot(sums[d][kFirst + v], units[v], weights, (own * kPacked + u) * 4 + kFirst + v);
      }
    }
  }

  // Adds column `at` of the image, which is column `kx` of the window of the first live pixel, and
  // goes on to the next.
  FURIOSA_INLINE void add_column(ptrdiff_t at, int kx) {
    const bool inside = static_cast<size_t>(at) < input_width;
    FURIOSA_UNROLL for (int u = 0; u < kUnits; ++u) {
      const uint8_t* from[kUnit][kParts];
      __m256i taps[kUnit];
      FURIOSA_UNROLL for (int i = 0; i < kUnit; ++i) {
        FURIOSA_UNROLL for (size_t part = 0; part < kParts; ++part) {
          const uint8_t*& line = lines[part][kUnit * u + i];
          from[i][part] = inside ? line : rows.outside;
          line += rows.lines[half.part + part][kUnit * u + i].step;
        }
        taps[i] = load_parts<kParts>(from[i], count);
      }
      add_unit<false>(taps, u, kx);
      if constexpr (kWhole) {
        // To load the taps again takes less than to spill accumulators.
        FURIOSA_UNROLL for (int i = 0; i < kUnit; ++i) {
          FURIOSA_UNROLL for (size_t part = 0; part < kParts; ++part) asm("" : "+r"(from[i][part]));
          taps[i] = load_parts<kParts>(from[i], count);
        }
      }
      add_unit<true>(taps, u, kx);
    }
  }

  FURIOSA_INLINE void finish(ptrdiff_t pixel) {
    __m256i bytes = requantise.template bytes<4>(sums[0], half.multiplier);
    if (!plain) bytes = finish_any<kParts>(rows, half, tables, pixel, bytes);
    store_parts<kParts>(to, count, bytes, half.stored);
    FURIOSA_UNROLL for (size_t part = 0; part < kParts; ++part) to[part] += rows.y_step;
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
  size_t stored = 0;  // parts that are there
  while (stored < rows.parts && rows.y[stored][0] != nullptr) ++stored;
  for (size_t i = 0; i < 2; ++i) {
    Half half{};
    half.part = rows.parts == 1 ? 0 : i * rows.parts / 2;
    half.column = rows.parts == 1 ? i * kHalf : 0;
    if (half.part >= stored || half.column >= rows.columns) break;
    half.count = rows.columns - half.column;
    half.stored = stored - half.part;
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
