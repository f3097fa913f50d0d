// Depthwise rows, column after column of the input: the lines of a column are interleaved in fours
// once, and one vpdpbusd adds four of a window's taps to each of 16 channels. A column belongs to
// the windows of several output pixels, whose accumulators move one place on for each pixel.

#include <immintrin.h>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/vnni.h"
#include "kernels/native/depthwise.h"

namespace furiosa::kernels {
namespace {

using avx512vnni::dot;
using avx512vnni::Finish;

// The table of a channel is that of its place within a part.
FURIOSA_INLINE __m512i look_up(const uint8_t* table, size_t stride, const DepthwiseRows& rows,
                               __m512i bytes) {
  if (table == nullptr) return bytes;
  if (stride == 0) return avx512vnni::look_up(table, bytes);
  alignas(64) uint8_t columns[64];
  _mm512_store_si512(columns, bytes);
  const size_t part = 64 / rows.parts;
  for (size_t c = 0; c < 64; ++c) {
    if (c % part >= rows.columns) continue;
    columns[c] = table[(rows.first_column + c % part) * stride + columns[c]];
  }
  return _mm512_load_si512(columns);
}

// The epilogue with all it may have, out of line.
template <int kParts>
[[gnu::noinline]] __m512i finish_any(const DepthwiseRows& rows, ptrdiff_t pixel, __mmask64 mask,
                                     __m512i bytes) {
  const Epilogue& epilogue = *rows.epilogue;
  bytes = look_up(epilogue.table, epilogue.table_stride, rows, bytes);
  if (!epilogue.add_residual) return bytes;
  const uint8_t* from[kParts];
  for (int part = 0; part < kParts; ++part) {
    const size_t own =
        static_cast<size_t>(part) < rows.stored_parts ? static_cast<size_t>(part) : 0;
    from[part] = rows.residual[own] + pixel * rows.residual_step;
  }
  const __m512i residual = avx512vnni::load_parts<kParts>(from, false, mask);
  bytes = avx512vnni::Adder(epilogue).template operator()<4>(bytes, residual);
  return look_up(epilogue.residual_table, epilogue.residual_table_stride, rows, bytes);
}

template <int kGroups, int kWidth, int kStride, int kParts, bool kWhole, Finish kFinish>
struct Row {
  static constexpr int kLive = (kWidth + kStride - 1) / kStride;  // pixels that share a column

  const DepthwiseRows& rows;
  const __mmask64 mask;
  const avx512vnni::Requantiser requantise;
  __m512i weights[kWidth][kGroups][4];
  __m512i accumulators[kLive][4];

  FURIOSA_INLINE explicit Row(const DepthwiseRows& all)
      : rows(all), mask(avx512vnni::column_mask(all.columns)), requantise(*all.epilogue) {
    const auto* from = reinterpret_cast<const __m512i*>(rows.panel);
    FURIOSA_UNROLL for (int kx = 0; kx < kWidth; ++kx) {
      FURIOSA_UNROLL for (int g = 0; g < kGroups; ++g) {
        FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
          weights[kx][g][v] = _mm512_load_si512(from + (kx * kGroups + g) * 4 + v);
        }
      }
    }
    FURIOSA_UNROLL for (int d = 0; d < kLive; ++d) restart(d);
  }

  FURIOSA_INLINE void restart(int d) {
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      accumulators[d][v] = _mm512_load_si512(rows.scales->bias + 16 * v);
    }
  }

  // Adds column `at` of the image, which is column `kx` of the window of the first live pixel.
  FURIOSA_INLINE void add_column(ptrdiff_t at, int kx) {
    const bool inside = static_cast<size_t>(at) < static_cast<size_t>(rows.input_width);
    FURIOSA_UNROLL for (int g = 0; g < kGroups; ++g) {
      __m512i lines[4], fours[4];
      FURIOSA_UNROLL for (int i = 0; i < 4; ++i) {
        const uint8_t* from[kParts];
        FURIOSA_UNROLL for (int part = 0; part < kParts; ++part) {
          const DepthwiseRows::Line& line = rows.lines[part][4 * g + i];
          from[part] = inside ? line.start + at * line.step : rows.outside;
        }
        lines[i] = avx512vnni::load_parts<kParts>(from, kWhole, mask);
      }
      avx512vnni::interleave(lines, fours);
      FURIOSA_UNROLL for (int d = 0; d < kLive; ++d) {
        if (kx - d * kStride < 0) continue;
        FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
          dot(accumulators[d][v], fours[v], weights[kx - d * kStride][g][v]);
        }
      }
    }
  }

  FURIOSA_INLINE void finish(ptrdiff_t pixel) {
    __m512i bytes = requantise.template operator()<4>(accumulators[0], rows.scales->multiplier);
    if constexpr (kFinish == Finish::kTable)
      bytes = avx512vnni::look_up(rows.epilogue->table, bytes);
    if constexpr (kFinish == Finish::kAny) bytes = finish_any<kParts>(rows, pixel, mask, bytes);
    uint8_t* to[kParts];
    FURIOSA_UNROLL for (int part = 0; part < kParts; ++part) {
      to[part] = rows.y[part] + pixel * rows.y_step;
    }
    avx512vnni::store_parts<kParts>(to, kWhole, mask, bytes, rows.stored_parts);
    FURIOSA_UNROLL for (int d = 0; d + 1 < kLive; ++d) {
      FURIOSA_UNROLL for (int v = 0; v < 4; ++v) accumulators[d][v] = accumulators[d + 1][v];
    }
    restart(kLive - 1);
  }
};

template <int kGroups, int kWidth, int kStride, int kParts, bool kWhole, Finish kFinish>
void run_row(const DepthwiseRows& rows) {
  Row<kGroups, kWidth, kStride, kParts, kWhole, kFinish> row(rows);
  FURIOSA_UNROLL for (int kx = 0; kx < kWidth - kStride; ++kx) row.add_column(kx - rows.pad, kx);
  ptrdiff_t column = -rows.pad;
  for (ptrdiff_t pixel = 0; pixel < rows.width; ++pixel, column += kStride) {
    FURIOSA_UNROLL for (int kx = kWidth - kStride; kx < kWidth; ++kx) {
      row.add_column(column + kx, kx);
    }
    row.finish(pixel);
  }
}

template <int kGroups, int kWidth, int kStride, int kParts, bool kWhole>
void run_finish(const DepthwiseRows& rows) {
  switch (avx512vnni::finish_of(*rows.epilogue)) {
    case Finish::kPlain:
      return run_row<kGroups, kWidth, kStride, kParts, kWhole, Finish::kPlain>(rows);
    case Finish::kTable:
      return run_row<kGroups, kWidth, kStride, kParts, kWhole, Finish::kTable>(rows);
    default:
      return run_row<kGroups, kWidth, kStride, kParts, kWhole, Finish::kAny>(rows);
  }
}

template <int kGroups, int kWidth, int kStride, int kParts>
void run_part(const DepthwiseRows& rows) {
  if (rows.columns == 64 / kParts) {
    run_finish<kGroups, kWidth, kStride, kParts, true>(rows);
  } else {
    run_finish<kGroups, kWidth, kStride, kParts, false>(rows);
  }
}

template <int kGroups, int kWidth, int kStride>
void run(const DepthwiseRows& rows) {
  switch (rows.parts) {
    case 1:
      return run_part<kGroups, kWidth, kStride, 1>(rows);
    case 2:
      return run_part<kGroups, kWidth, kStride, 2>(rows);
    default:
      return run_part<kGroups, kWidth, kStride, 4>(rows);
  }
}

}  // namespace

DepthwiseRowKernel depthwise_row_kernel_avx512vnni(int64_t kernel_h, int64_t kernel_w,
                                                   int64_t stride_w) {
  const int64_t groups = (kernel_h + 3) / 4;  // as the panel is packed
  if (groups == 1 && kernel_w == 3 && stride_w == 1) return run<1, 3, 1>;
  if (groups == 1 && kernel_w == 3 && stride_w == 2) return run<1, 3, 2>;
  if (groups == 2 && kernel_w == 5 && stride_w == 1) return run<2, 5, 1>;
  if (groups == 2 && kernel_w == 5 && stride_w == 2) return run<2, 5, 2>;
  return nullptr;
}

}  // namespace furiosa::kernels
