// Depthwise rows of windows whose columns do not fit into registers: a first pass interleaves the
// columns in memory, the second takes several pixels together, which share the loads of weights and
// columns.

#include "kernels/native/avx512vnni/depthwise_rows.h"

namespace furiosa::kernels::avx512vnni {
namespace {

constexpr ptrdiff_t kTile = 32;  // pixels of a row that are finished together

// Interleaves four lines of the columns [at, at + count); `to` has `groups` for each column.
template <int kParts, bool kWhole>
void interleave_lines(const DepthwiseRows& rows, size_t first_line, ptrdiff_t at, ptrdiff_t count,
                      Four* to, ptrdiff_t groups) {
  const __mmask64 mask = column_mask(rows.columns);
  const uint8_t* from[4][kParts];
  ptrdiff_t steps[4][kParts];
  FURIOSA_UNROLL for (int i = 0; i < 4; ++i) {
    FURIOSA_UNROLL for (int part = 0; part < kParts; ++part) {
      const DepthwiseRows::Line line = rows.lines[part][first_line + static_cast<size_t>(i)];
      steps[i][part] = line.step;
      from[i][part] = line.start + (at < 0 ? 0 : at * line.step);
    }
  }
  const __m512i outside = _mm512_set1_epi8(static_cast<char>(*rows.outside));
  const ptrdiff_t left = at < 0 ? -at : 0;
  const ptrdiff_t right = rows.input_width - at;
  ptrdiff_t column = 0;
  for (; column < left && column < count; ++column, to += groups) {
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) _mm512_store_si512(&(*to)[v], outside);
  }
  for (; column < right && column < count; ++column, to += groups) {
    __m512i lines[4], fours[4];
    FURIOSA_UNROLL for (int i = 0; i < 4; ++i) {
      lines[i] = load_parts<kParts>(from[i], kWhole, mask);
      FURIOSA_UNROLL for (int part = 0; part < kParts; ++part) from[i][part] += steps[i][part];
    }
    interleave(lines, fours);
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) _mm512_store_si512(&(*to)[v], fours[v]);
  }
  for (; column < count; ++column, to += groups) {
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) _mm512_store_si512(&(*to)[v], outside);
  }
}

template <int kParts>
void interleave_part(const DepthwiseRows& rows, size_t first_line, ptrdiff_t at, ptrdiff_t count,
                     Four* to, ptrdiff_t groups) {
  rows.columns == 64 / kParts
      ? interleave_lines<kParts, true>(rows, first_line, at, count, to, groups)
      : interleave_lines<kParts, false>(rows, first_line, at, count, to, groups);
}

void interleave_columns(const DepthwiseRows& rows, ptrdiff_t at, ptrdiff_t count, Four* to,
                        ptrdiff_t groups) {
  for (ptrdiff_t g = 0; g < groups; ++g, ++to) {
    const size_t line = static_cast<size_t>(4 * g);
    switch (rows.parts) {
      case 1:
        interleave_part<1>(rows, line, at, count, to, groups);
        break;
      case 2:
        interleave_part<2>(rows, line, at, count, to, groups);
        break;
      default:
        interleave_part<4>(rows, line, at, count, to, groups);
    }
  }
}

// A part of a vector.
template <int kParts>
struct PartOf {
  using Vector = __m512i;
};
template <>
struct PartOf<2> {
  using Vector = __m256i;
};
template <>
struct PartOf<4> {
  using Vector = __m128i;
};

// Copies the parts of pixels to where they belong.
template <int kParts>
void store_parts(const DepthwiseRows& rows, size_t row, ptrdiff_t first, ptrdiff_t count,
                 const __m512i* pixels) {
  using Part = typename PartOf<kParts>::Vector;
  const __mmask64 mask = column_mask(rows.columns);
  const bool whole = rows.columns == 64 / kParts;
  for (int part = 0; part < kParts; ++part) {
    if (rows.y[part][row] == nullptr) continue;
    uint8_t* to = rows.y[part][row] + first * rows.y_step;
    const auto* from = reinterpret_cast<const Part*>(pixels) + part;
    for (ptrdiff_t p = 0; p < count; ++p, to += rows.y_step, from += kParts) {
      store_part(to, whole, mask, *from);
    }
  }
}

void store_pixels(const DepthwiseRows& rows, size_t row, ptrdiff_t first, ptrdiff_t count,
                  const __m512i* pixels) {
  switch (rows.parts) {
    case 1:
      return store_parts<1>(rows, row, first, count, pixels);
    case 2:
      return store_parts<2>(rows, row, first, count, pixels);
    default:
      return store_parts<4>(rows, row, first, count, pixels);
  }
}

// Where the pixels of the rows of a tile go at first: to the result where they are whole vectors
// that are done then, otherwise to a buffer.
struct Tile {
  alignas(64) __m512i pixels[DepthwiseRows::kMaxRows][kTile];
  uint8_t* to[DepthwiseRows::kMaxRows];
  ptrdiff_t step;
  size_t rows;  // that are there
  bool done;
  bool direct;

  explicit Tile(const DepthwiseRows& all) {
    const Finish finish = finish_of(*all.epilogue);
    done = finish == Finish::kPlain || finish == Finish::kTable;
    direct = done && all.parts == 1 && all.columns == 64;
    step = direct ? all.y_step : 64;
  }

  void begin(const DepthwiseRows& all, ptrdiff_t first) {
    rows = rows_there(all);
    for (size_t row = 0; row < rows; ++row) {
      to[row] = direct ? all.y[0][row] + first * step : reinterpret_cast<uint8_t*>(pixels[row]);
    }
  }

  void end(const DepthwiseRows& all, ptrdiff_t first, ptrdiff_t count) {
    if (direct) return;
    for (size_t row = 0; row < rows; ++row) {
      if (!done) finish_any(all, row, first, count, pixels[row]);
      store_pixels(all, row, first, count, pixels[row]);
    }
  }
};

// GCC would keep columns for the next pixels, more than there are registers, and spill.
FURIOSA_INLINE __m512i load_column(const __m512i* from) {
  __m512i value;
  asm("vmovdqa64 %1, %0" : "=v"(value) : "m"(*from));
  return value;
}

// Pixels of a row, next to each other, from interleaved columns.
template <int kGroups, int kWidth, int kStride, bool kTable>
struct Row {
  static constexpr int kPixels = 4;  // that are computed together

  const Four* const weights;  // [kWidth][kGroups]
  const PanelScales* const scales;
  const uint8_t* const table;
  const __m512i zero_point;

  FURIOSA_INLINE Row(const DepthwiseRows& rows, size_t row)
      : weights(reinterpret_cast<const Four*>(rows.panel) + row * kGroups * kWidth),
        scales(rows.scales),
        table(rows.epilogue->table),
        zero_point(_mm512_set1_epi16(rows.epilogue->y_zero_point)) {}

  // kCount pixels whose windows begin at `columns`.
  template <int kCount>
  FURIOSA_INLINE void pixels(const Four* columns, uint8_t* to, ptrdiff_t step) const {
    Four sums[kCount];
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      FURIOSA_UNROLL for (int p = 0; p < kCount; ++p) {
        sums[p][v] = _mm512_load_si512(scales->bias + 16 * v);
      }
      FURIOSA_UNROLL for (int g = 0; g < kGroups; ++g) {
        __m512i own[kWidth];
        FURIOSA_UNROLL for (int kx = 0; kx < kWidth; ++kx) {
          own[kx] = _mm512_load_si512(&weights[kx * kGroups + g][v]);
          asm("" : "+v"(own[kx]));  // in a register for all pixels
        }
        FURIOSA_UNROLL for (int c = 0; c < (kCount - 1) * kStride + kWidth; ++c) {
          const __m512i column = load_column(&columns[c * kGroups + g][v]);
          FURIOSA_UNROLL for (int p = 0; p < kCount; ++p) {
            const int kx = c - p * kStride;
            if (kx >= 0 && kx < kWidth) dot(sums[p][v], column, own[kx]);
          }
        }
      }
    }
    __m512 multiplier[4];
    FURIOSA_UNROLL for (int v = 0; v < 4; ++v) {
      multiplier[v] = _mm512_load_ps(scales->multiplier + 16 * v);
    }
    FURIOSA_UNROLL for (int p = 0; p < kCount; ++p, to += step) {
      _mm512_storeu_si512(to, requantise<kTable>(sums[p], multiplier, zero_point, table));
    }
  }

  FURIOSA_INLINE void operator()(ptrdiff_t count, const Four* columns, uint8_t* to,
                                 ptrdiff_t step) const {
    constexpr ptrdiff_t kStep = kPixels * kStride * kGroups;
    for (; count >= kPixels; count -= kPixels, columns += kStep, to += kPixels * step) {
      pixels<kPixels>(columns, to, step);
    }
    if (count == 3) pixels<3>(columns, to, step);
    if (count == 2) pixels<2>(columns, to, step);
    if (count == 1) pixels<1>(columns, to, step);
  }
};

template <int kGroups, int kWidth, int kStride>
void run_wide(const DepthwiseRows& rows) {
  constexpr ptrdiff_t kPixels = kStride == 1 ? kTile : kTile / 2;  // so that columns stay in L1
  alignas(64) Four columns[((kPixels - 1) * kStride + kWidth) * kGroups];
  Tile tile(rows);
  const bool table = finish_of(*rows.epilogue) == Finish::kTable;
  for (ptrdiff_t first = 0; first < rows.width; first += kPixels) {
    const ptrdiff_t count = rows.width - first < kPixels ? rows.width - first : kPixels;
    interleave_columns(rows, first * kStride - rows.pad, (count - 1) * kStride + kWidth, columns,
                       kGroups);
    tile.begin(rows, first);
    for (size_t row = 0; row < tile.rows; ++row) {
      constexpr size_t kVectors = kWidth * kGroups * 4;
      if (first == 0 && rows.next_panel != nullptr) {
        fetch(rows.next_panel + row * kVectors * 64, kVectors);
      }
      if (table) {
        Row<kGroups, kWidth, kStride, true>(rows, row)(count, columns, tile.to[row], tile.step);
      } else {
        Row<kGroups, kWidth, kStride, false>(rows, row)(count, columns, tile.to[row], tile.step);
      }
    }
    tile.end(rows, first, count);
  }
}

}  // namespace

DepthwiseRowKernel five_wide_kernel(int64_t stride_w) {
  return stride_w == 1 ? run_wide<2, 5, 1> : stride_w == 2 ? run_wide<2, 5, 2> : nullptr;
}

}  // namespace furiosa::kernels::avx512vnni
