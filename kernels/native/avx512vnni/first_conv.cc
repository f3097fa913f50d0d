// first_conv_avx512vnni: sums of some pixels by 16 * V columns in registers. The windows of
// neighbours are a constant way apart, so that no addresses are stored.

#include "kernels/native/first_conv.h"

#include <immintrin.h>

#include <cstring>

#include "kernels/native/avx512vnni/epilogue.h"
#include "kernels/native/avx512vnni/vnni.h"

namespace furiosa::kernels {
namespace {

using avx512vnni::dot;
using avx512vnni::Finish;
using avx512vnni::four;

// Multiples of the step from one address to the next; 0 stands for one that is known at run time.
// With these few registers an address mode reaches eight addresses from one: it may add 1, 2, 4 or
// 8 times a register.
template <int kStep>
struct Steps {
  ptrdiff_t one, three, five, seven;

  FURIOSA_INLINE explicit Steps(ptrdiff_t step)
      : one(step), three(3 * step), five(5 * step), seven(7 * step) {
    // The compiler would compute each address on its own if it knew how these are related.
    asm("" : "+r"(three), "+r"(five), "+r"(seven));
  }

  FURIOSA_INLINE ptrdiff_t operator()(int count) const {
    if constexpr (kStep > 0) return count * kStep;
    switch (count) {
      case 3:
      case 6:
        return count / 3 * three;
      case 5:
        return five;
      case 7:
        return seven;
      default:
        return count * one;
    }
  }
};

// Sums of R pixels.
template <int R, int V>
struct Sums {
  __m512i at[R][V];

  FURIOSA_INLINE void start(const PanelScales* scales) {
    FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
      FURIOSA_UNROLL for (int v = 0; v < V; ++v) at[r][v] =
          _mm512_load_si512(scales->bias + 16 * v);
    }
  }

  // Adds the products of `fours` fours of each window, which are `pitch` apart, and goes on to the
  // weights behind them. All but kHeld of the V weights of a four come from memory.
  template <int kHeld, int kStep>
  FURIOSA_INLINE void add(const uint8_t* window, const Steps<kStep>& steps, size_t fours,
                          ptrdiff_t pitch, const __m512i*& weights) {
    constexpr int kReach = kStep > 0 ? R : 8;  // pixels that one register is enough for
    constexpr int kBases = (R + kReach - 1) / kReach;
    const uint8_t* bases[kBases];
    FURIOSA_UNROLL for (int i = 0; i < kBases; ++i) bases[i] = window + 8 * i * steps.one;
    for (size_t f = 0; f < fours; ++f, weights += V) {
      // Left to itself the compiler would load weights again for every pixel.
      __m512i held[V];
      FURIOSA_UNROLL for (int v = 0; v < kHeld; ++v) {
        asm("vmovdqa64 %1, %0" : "=v"(held[v]) : "m"(weights[v]));
      }
      FURIOSA_UNROLL for (int r = 0; r < R; ++r) {
        const __m512i bytes = four(bases[r / kReach] + steps(r % kReach));
        FURIOSA_UNROLL for (int v = 0; v < kHeld; ++v) dot(at[r][v], bytes, held[v]);
        FURIOSA_UNROLL for (int v = kHeld; v < V; ++v) dot(at[r][v], bytes, weights + v);
      }
      FURIOSA_UNROLL for (int i = 0; i < kBases; ++i) bases[i] += pitch;
    }
  }
};

// From the order in which packing leaves the bytes of kRows<V> pixels to pixel after pixel of a
// number of columns each.
template <int V>
struct Orders {
  static constexpr size_t kRows = avx512vnni::kRows<V>;
  alignas(64) uint8_t places[64 / kRows + 1][64] = {};

  constexpr Orders() {
    for (size_t columns = 1; columns <= 64 / kRows; ++columns) {
      for (size_t i = 0; i < kRows * columns && i < 16 * kRows * V; ++i) {
        const size_t slot = avx512vnni::slot_of(i % columns, V);
        const size_t vector = i / columns * V + slot / 16;
        places[columns][i] = static_cast<uint8_t>(slot % 16 / 4 * 16 + vector * 4 + slot % 4);
      }
    }
  }
};
template <int V>
constexpr Orders<V> kOrders;

// The constants of a row's epilogue.
template <int V, Finish kFinish>
struct Finisher {
  static constexpr int kRows = avx512vnni::kRows<V>;

  const avx512vnni::Requantiser requantise;
  const uint8_t* const table;
  const float* const multiplier;
  uint8_t* const y;
  const ptrdiff_t y_step;
  const bool dense;  // the bytes of kRows pixels are adjacent
  const bool whole;  // and these are all
  const __mmask64 mask;
  const __m512i order;

  FURIOSA_INLINE explicit Finisher(const FirstConvRow& row)
      : requantise(*row.epilogue),
        table(row.epilogue->table),
        multiplier(row.scales->multiplier),
        y(row.y),
        y_step(row.y_step),
        dense(kRows == 1 || y_step == static_cast<ptrdiff_t>(row.columns)),
        whole(dense && row.columns == 64 / kRows),
        mask(avx512vnni::column_mask(dense ? kRows * row.columns : row.columns)),
        order(_mm512_load_si512(kOrders<V>.places[dense ? row.columns : 64 / kRows])) {}

  // Finishes kRows pixels from `pixel` on, whose sums are those from `first` on.
  template <int R>
  FURIOSA_INLINE void operator()(ptrdiff_t pixel, const Sums<R, V>& sums, int first) const {
    __m512i group[avx512vnni::kVectors<V>];
    FURIOSA_UNROLL for (int i = 0; i < kRows * V; ++i) group[i] = sums.at[first + i / V][i % V];
    __m512i bytes = requantise.template operator()<V>(group, multiplier);
    if constexpr (kFinish == Finish::kTable) bytes = avx512vnni::look_up(table, bytes);
    if constexpr (V < 4) bytes = _mm512_permutexvar_epi8(order, bytes);
    uint8_t* to = y + pixel * y_step;
    if (whole) return _mm512_storeu_si512(to, bytes);
    if (dense) return _mm512_mask_storeu_epi8(to, mask, bytes);
    FURIOSA_UNROLL for (int r = 0; r < kRows; ++r, to += y_step) {
      _mm512_mask_storeu_epi8(to, mask, bytes);
      bytes = V == 1 ? _mm512_shuffle_i32x4(bytes, bytes, 0x39)
                     : _mm512_shuffle_i64x2(bytes, bytes, 0x4e);
    }
  }
};

// Packs fours on the way along a row. The bytes of sixteen pixels are within two vectors.
struct Packer {
  static constexpr ptrdiff_t kPixels = 16;
  static_assert((kPixels - 1) * kFirstConvPackedStep + 4 <= 128);
  static_assert(kFirstConvPixels % kPixels == 0);

  const FirstConvRow& row;
  __m512i order;
  ptrdiff_t done;  // pixels

  FURIOSA_INLINE explicit Packer(const FirstConvRow& all)
      : row(all), done(all.remainder_count > 0 ? 0 : all.width) {
    alignas(64) uint8_t places[64];
    for (int i = 0; i < 64; ++i) places[i] = static_cast<uint8_t>(i / 4 * row.line_step + i % 4);
    order = _mm512_load_si512(places);
  }

  // Packs up to pixel `stop` or the end of the row.
  FURIOSA_INLINE void run(ptrdiff_t stop) {
    for (; done < stop && done < row.width; done += kPixels) pack();
  }

  FURIOSA_INLINE void pack() const {
    __m512i bytes = _mm512_setzero_si512();
    for (size_t i = 0; i < row.remainder_count; ++i) {
      const FirstConvRemainder& from = row.remainders[i];
      const uint8_t* line = row.lines[from.line] + done * row.line_step + from.offset;
      const __m512i picked =
          _mm512_maskz_permutex2var_epi8(_cvtu64_mask64(from.mask), _mm512_loadu_si512(line), order,
                                         _mm512_loadu_si512(line + 64));
      bytes = _mm512_or_si512(bytes, picked);
      if (!from.last) continue;
      _mm512_store_si512(row.packed + from.four * row.packed_pitch + done * 4, bytes);
      bytes = _mm512_setzero_si512();
    }
  }
};

// A row in which pixels take turns: A are multiplied while B go through the epilogue, then the
// other way round. An epilogue keeps other units busy than multiplications do, but the processor
// does not look ahead far enough to find that by itself.
template <int A, int B, int V, Finish kFinish, int kStep, bool kThree>
struct Turns {
  static constexpr int kGroup = avx512vnni::kRows<V>;
  static constexpr int kHeld = (A + B + 1) * V + 1 > 32 ? V - 1 : V;
  static_assert(A % kGroup == 0 && B % kGroup == 0);
  static_assert(A <= kFirstConvPixels && B <= kFirstConvPixels);

  const FirstConvRow row;  // a copy, which no stored byte can be part of
  const Finisher<V, kFinish> finish;
  const Steps<kStep> line_steps;

  FURIOSA_INLINE explicit Turns(const FirstConvRow& all)
      : row(all), finish(all), line_steps(all.line_step) {}

  // Constants where the window is 3x3 of three channels, that of most networks.
  FURIOSA_INLINE size_t kernel_h() const { return kThree ? 3 : row.kernel_h; }
  FURIOSA_INLINE size_t line_fours() const { return kThree ? 2 : row.line_fours; }
  FURIOSA_INLINE size_t packed_fours() const { return kThree ? 1 : row.packed_fours; }

  template <int R>
  FURIOSA_INLINE void add_line(size_t ky, ptrdiff_t pixel, const __m512i*& weights,
                               Sums<R, V>& sums) const {
    sums.template add<kHeld>(row.lines[ky] + pixel * (kStep > 0 ? kStep : row.line_step),
                             line_steps, line_fours(), 4, weights);
  }

  // Finishes the sums from kFirst on, a group before each line that is added. Returns how many
  // lines those were.
  template <int kFirst, int R, int kFinished>
  FURIOSA_INLINE size_t share(ptrdiff_t pixel, const __m512i*& weights, Sums<R, V>& sums,
                              ptrdiff_t finished_pixel, const Sums<kFinished, V>& finished) const {
    constexpr size_t kLine = kFirst / kGroup;
    if constexpr (kFirst < kFinished) {
      if (finished_pixel >= 0) finish(finished_pixel + kFirst, finished, kFirst);
      if (kLine < kernel_h()) add_line(kLine, pixel, weights, sums);
      return share<kFirst + kGroup>(pixel, weights, sums, finished_pixel, finished);
    }
    return kLine;
  }

  // Multiplies R pixels, and finishes others.
  template <int R, int kFinished>
  FURIOSA_INLINE void turn(ptrdiff_t pixel, Sums<R, V>& sums, ptrdiff_t finished_pixel,
                           const Sums<kFinished, V>& finished) const {
    const auto* weights = reinterpret_cast<const __m512i*>(row.panel);
    sums.start(row.scales);
    size_t ky = share<0>(pixel, weights, sums, finished_pixel, finished);
    for (; ky < kernel_h(); ++ky) add_line(ky, pixel, weights, sums);
    sums.template add<kHeld>(row.packed + pixel * 4, Steps<4>(4), packed_fours(), row.packed_pitch,
                             weights);
  }

  template <int R>
  FURIOSA_INLINE void finish_all(ptrdiff_t pixel, const Sums<R, V>& sums) const {
    FURIOSA_UNROLL for (int r = 0; r < R; r += kGroup) finish(pixel + r, sums, r);
  }

  FURIOSA_INLINE void run() const {
    Packer packer(row);
    packer.run(A + B);
    Sums<A, V> a;
    Sums<B, V> b;
    b.start(row.scales);
    // The last pixels may be computed twice.
    const ptrdiff_t last_a = row.width - A, last_b = row.width - B;
    ptrdiff_t at_b = -1;  // none at first
    for (ptrdiff_t next = 0; next < row.width; next += A + B) {
      packer.run(next + 2 * (A + B));
      const ptrdiff_t at_a = next < last_a ? next : last_a;
      turn(at_a, a, at_b, b);
      if (next + A >= row.width) return finish_all(at_a, a);
      at_b = next + A < last_b ? next + A : last_b;
      turn(at_b, b, at_a, a);
    }
    finish_all(at_b, b);
  }
};

// Nearly all networks begin with three channels and a stride of two, and most with a window of 3x3.
template <int A, int B, int V, Finish kFinish>
void run_turns(const FirstConvRow& row) {
  const bool three = row.kernel_h == 3 && row.line_fours == 2 && row.packed_fours == 1;
  if (row.line_step != 6) return Turns<A, B, V, kFinish, 0, false>(row).run();
  if (!three) return Turns<A, B, V, kFinish, 6, false>(row).run();
  return Turns<A, B, V, kFinish, 6, true>(row).run();
}

template <int A, int B, int V>
void run_finish(const FirstConvRow& row) {
  if (row.epilogue->table != nullptr) return run_turns<A, B, V, Finish::kTable>(row);
  return run_turns<A, B, V, Finish::kPlain>(row);
}

}  // namespace

void first_conv_row_avx512vnni(const FirstConvRow& row) {
  switch ((row.columns + 15) / 16) {
    case 1:
      return run_finish<12, 12, 1>(row);
    case 2:
      return run_finish<8, 6, 2>(row);
    case 3:
      return run_finish<4, 4, 3>(row);
    default:
      return run_finish<3, 3, 4>(row);
  }
}

}  // namespace furiosa::kernels
