#include "kernels/native/vector_kernels.h"

#include <immintrin.h>

#include "kernels/native/avx512vnni/vnni.h"
#include "kernels/native/expression_loops.h"

namespace furiosa::kernels {
namespace {

// The mask of the first `left` of 16 or 64 lanes.
inline __mmask16 first16(size_t left) {
  return left >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1u << left) - 1);
}

inline __mmask64 first64(size_t left) {
  return left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
}

// Calls step(i, mask) for each 64 elements from i on; the step masks its loads and stores, as there
// may be less in the end. Else the mask is a constant, which the compiler drops: data that is not
// in a cache streams two to three times as fast through plain loads as through masked ones.
template <class Step>
[[gnu::flatten]] inline void for_vectors64(size_t count, Step step) {
  size_t i = 0;
  for (; i + 64 <= count; i += 64) step(i, ~__mmask64{0});
  if (i < count) step(i, first64(count - i));
}

inline __mmask16 quarter(__mmask64 mask, int k) { return static_cast<__mmask16>(mask >> (16 * k)); }

inline __m512 load_floats(const uint8_t* x, __mmask16 mask) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x)));
}

// The bytes less `zero` as floats. Integers are subtracted where the floating-point adders have
// enough to do.
inline __m512 load_less(const uint8_t* x, __mmask16 mask, __m512i zero) {
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x));
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(bytes, zero));
}

// 64 bytes in order from four vectors of 16 int32 each, saturated to uint8; where `bias` is 128
// saturated to int8 with the top bit flipped.
inline __m512i pack(const __m512i v[4], int32_t bias) {
  const __m512i low = _mm512_packs_epi32(v[0], v[1]);
  const __m512i high = _mm512_packs_epi32(v[2], v[3]);
  const __m512i bytes =
      bias == 0 ? _mm512_packus_epi16(low, high)
                : _mm512_xor_si512(_mm512_packs_epi16(low, high), _mm512_set1_epi8(-128));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, bytes);
}

// clamp(rne(value) + zero_point, 0, 255) in float, where a NaN counts as the lowest value.
struct ByteRounding {
  explicit ByteRounding(int32_t zero_point)
      : least(_mm512_set1_ps(static_cast<float>(-zero_point))),
        most(_mm512_set1_ps(static_cast<float>(255 - zero_point))),
        zero(_mm512_set1_epi32(zero_point)) {}

  __m512i operator()(__m512 value) const {
    const __m512 clamped = _mm512_min_ps(_mm512_max_ps(value, least), most);
    return _mm512_add_epi32(_mm512_cvtps_epi32(clamped), zero);
  }

  __m512 least;
  __m512 most;
  __m512i zero;
};

struct Quantiser {
  Quantiser(float scale, int32_t zero_point) : divisor(_mm512_set1_ps(scale)), round(zero_point) {}

  // The bytes of 64 floats.
  __m512i operator()(const float* x, __mmask64 mask) const {
    __m512i v[4];
    for (int k = 0; k < 4; ++k) {
      const __m512 values = _mm512_maskz_loadu_ps(quarter(mask, k), x + 16 * k);
      v[k] = round(_mm512_div_ps(values, divisor));
    }
    return pack(v, 0);
  }

  __m512 divisor;
  ByteRounding round;
};

void quantize(const float* x, uint8_t* y, size_t count, float scale, int32_t zero_point) {
  const Quantiser quantise(scale, zero_point);
  for_vectors64(count, [&](size_t i, __mmask64 mask) {
    _mm512_mask_storeu_epi8(y + i, mask, quantise(x + i, mask));
  });
}

void dequantize(const uint8_t* x, float* y, size_t count, float scale, int32_t zero_point) {
  const __m512 factor = _mm512_set1_ps(scale);
  const __m512 zero = _mm512_set1_ps(static_cast<float>(zero_point));
  for_vectors64(count, [&](size_t i, __mmask64 mask) {
    for (int k = 0; k < 4; ++k) {
      const __mmask16 own = quarter(mask, k);
      const __m512 value = _mm512_sub_ps(load_floats(x + i + 16 * k, own), zero);
      _mm512_mask_storeu_ps(y + i + 16 * k, own, _mm512_mul_ps(value, factor));
    }
  });
}

void lookup(const uint8_t* x, uint8_t* y, size_t count, const uint8_t* table) {
  __m512i quarters[4];
  for (int k = 0; k < 4; ++k) quarters[k] = _mm512_loadu_si512(table + 64 * k);
  for_vectors64(count, [&](size_t i, __mmask64 mask) {
    const __m512i index = _mm512_maskz_loadu_epi8(mask, x + i);
    const __m512i low = _mm512_permutex2var_epi8(quarters[0], index, quarters[1]);
    const __m512i high = _mm512_permutex2var_epi8(quarters[2], index, quarters[3]);
    const __m512i value = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
    _mm512_mask_storeu_epi8(y + i, mask, value);
  });
}

void add(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count, const AddParameters& p) {
  const __m512 a_scale = _mm512_set1_ps(p.a_scale);
  const __m512 b_scale = _mm512_set1_ps(p.b_scale);
  const __m512 offset = _mm512_set1_ps(p.offset);
  const __m512i bias = _mm512_set1_epi32(p.bias);
  for_vectors64(count, [&](size_t i, __mmask64 mask) {
    __m512i v[4];
    for (int k = 0; k < 4; ++k) {
      const __m512 va = load_less(a + i + 16 * k, quarter(mask, k), bias);
      const __m512 vb = load_less(b + i + 16 * k, quarter(mask, k), bias);
      v[k] = _mm512_cvtps_epi32(_mm512_fmadd_ps(va, a_scale, _mm512_fmadd_ps(vb, b_scale, offset)));
    }
    _mm512_mask_storeu_epi8(y + i, mask, pack(v, p.bias));
  });
}

void mul(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count, const MulParameters& p) {
  const __m512i a_zero = _mm512_set1_epi32(p.a_zero_point);
  const __m512i b_zero = _mm512_set1_epi32(p.b_zero_point);
  const __m512 multiplier = _mm512_set1_ps(p.multiplier);
  const __m512 y_zero = _mm512_set1_ps(p.y_zero_point);
  for_vectors64(count, [&](size_t i, __mmask64 mask) {
    __m512i v[4];
    for (int k = 0; k < 4; ++k) {
      const __m512 va = load_less(a + i + 16 * k, quarter(mask, k), a_zero);
      const __m512 vb = load_less(b + i + 16 * k, quarter(mask, k), b_zero);
      const __m512 product = _mm512_mul_ps(va, vb);  // exact: at most 17 bits
      v[k] = _mm512_cvtps_epi32(_mm512_add_ps(_mm512_mul_ps(product, multiplier), y_zero));
    }
    _mm512_mask_storeu_epi8(y + i, mask, pack(v, p.bias));
  });
}

// The largest of the taps of one window; load_tap(tap) reads 64 of their channels.
template <class Load>
inline __m512i max_taps(const uint8_t* x, const Windows& w, Load load_tap) {
  __m512i most = _mm512_setzero_si512();
  for (size_t i = 0; i < w.rows; ++i, x += w.row_stride) {
    const uint8_t* tap = x;
    for (size_t k = 0; k < w.columns; ++k, tap += w.column_stride) {
      most = _mm512_max_epu8(most, load_tap(tap));
    }
  }
  return most;
}

void max(const uint8_t* x, const Windows& w, uint8_t* y, size_t count) {
  const size_t whole = count / 64 * 64;
  const __mmask64 rest = first64(count - whole);
  const auto load_all = [](const uint8_t* tap) { return _mm512_loadu_si512(tap); };
  const auto load_rest = [rest](const uint8_t* tap) { return _mm512_maskz_loadu_epi8(rest, tap); };
  for (size_t n = 0; n < w.count; ++n, x += w.x_step, y += w.y_step) {
    for (size_t c = 0; c < whole; c += 64) {
      _mm512_storeu_si512(y + c, max_taps(x + c, w, load_all));
    }
    if (rest != 0) {
      _mm512_mask_storeu_epi8(y + whole, rest, max_taps(x + whole, w, load_rest));
    }
  }
}

// From the sums of avx512vnni::interleave's vectors to 16 channels after 16.
inline void order_channels(__m512i v[4]) {
  const __m512i low01 = _mm512_shuffle_i32x4(v[0], v[1], 0x44);
  const __m512i low23 = _mm512_shuffle_i32x4(v[2], v[3], 0x44);
  const __m512i high01 = _mm512_shuffle_i32x4(v[0], v[1], 0xEE);
  const __m512i high23 = _mm512_shuffle_i32x4(v[2], v[3], 0xEE);
  v[0] = _mm512_shuffle_i32x4(low01, low23, 0x88);
  v[1] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
  v[2] = _mm512_shuffle_i32x4(high01, high23, 0x88);
  v[3] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
}

// Adds four rows of 64 channels: interleaved, one vpdpbusd adds them to 16 sums.
FURIOSA_INLINE void add_rows(const __m512i (&rows)[4], __m512i (&sums)[4]) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i fours[4];
  avx512vnni::interleave(rows, fours);
  avx512vnni::dot(sums[0], fours[0], ones);
  avx512vnni::dot(sums[1], fours[1], ones);
  avx512vnni::dot(sums[2], fours[2], ones);
  avx512vnni::dot(sums[3], fours[3], ones);
}

void accumulate(const uint8_t* x, ptrdiff_t stride, size_t rows, int32_t* sums, size_t count) {
  const __m512i none = _mm512_setzero_si512();
  for_vectors64(count, [&](size_t i, __mmask64 mask) {
    __m512i sum[4] = {none, none, none, none};
    const uint8_t* row = x + i;
    size_t r = 0;
    for (; r + 4 <= rows; r += 4, row += 4 * stride) {
      const __m512i four[4] = {_mm512_maskz_loadu_epi8(mask, row),
                               _mm512_maskz_loadu_epi8(mask, row + stride),
                               _mm512_maskz_loadu_epi8(mask, row + 2 * stride),
                               _mm512_maskz_loadu_epi8(mask, row + 3 * stride)};
      add_rows(four, sum);
    }
    for (; r < rows; ++r, row += stride) {
      const __m512i one[4] = {_mm512_maskz_loadu_epi8(mask, row), none, none, none};
      add_rows(one, sum);
    }
    order_channels(sum);
    for (int k = 0; k < 4; ++k) {
      int32_t* to = sums + i + 16 * k;
      const __mmask16 own = quarter(mask, k);
      const __m512i before = _mm512_maskz_loadu_epi32(own, to);
      _mm512_mask_storeu_epi32(to, own, _mm512_add_epi32(before, sum[k]));
    }
  });
}

void requantize(const int32_t* sums, uint8_t* y, size_t count, float multiplier,
                int32_t zero_point) {
  const __m512 factor = _mm512_set1_ps(multiplier);
  const ByteRounding round(zero_point);
  for_vectors64(count, [&](size_t i, __mmask64 mask) {
    __m512i v[4];
    for (int k = 0; k < 4; ++k) {
      const __m512i values = _mm512_maskz_loadu_epi32(quarter(mask, k), sums + i + 16 * k);
      v[k] = round(_mm512_mul_ps(_mm512_cvtepi32_ps(values), factor));
    }
    _mm512_mask_storeu_epi8(y + i, mask, pack(v, 0));
  });
}

// Makes triples of three planes: an image from NCHW to NHWC.
struct TripleMaker {
  TripleMaker() {
    // Byte i of the 192 that 64 triples have comes from plane i % 3, byte i / 3.
    for (int part = 0; part < 3; ++part) {
      for (int i = 0; i < 64; ++i) {
        const int byte = 64 * part + i;
        order[part][i] = static_cast<uint8_t>(byte / 3 + (byte % 3 == 1 ? 64 : 0));
        last[part][i] = static_cast<uint8_t>(byte / 3);
        if (byte % 3 == 2) third[part] |= __mmask64{1} << i;
      }
    }
  }

  // Stores up to 64 triples, of `bytes` bytes.
  void operator()(__m512i first, __m512i second, __m512i triple, uint8_t* y, size_t bytes) const {
    for (size_t part = 0; part < 3 && 64 * part < bytes; ++part) {
      const __m512i two = _mm512_permutex2var_epi8(first, _mm512_load_si512(order[part]), second);
      const __m512i three =
          _mm512_mask_permutexvar_epi8(two, third[part], _mm512_load_si512(last[part]), triple);
      _mm512_mask_storeu_epi8(y + 64 * part, first64(bytes - 64 * part), three);
    }
  }

  alignas(64) uint8_t order[3][64];  // in the first two planes, one after the other
  alignas(64) uint8_t last[3][64];
  __mmask64 third[3] = {0, 0, 0};  // the bytes of the last plane
};

// Three planes of `rows` bytes each into one row of triples.
void interleave_three(const uint8_t* x, ptrdiff_t plane, uint8_t* y, size_t rows) {
  const TripleMaker store;
  for_vectors64(rows, [&](size_t r, __mmask64 mask) {
    store(_mm512_maskz_loadu_epi8(mask, x + r), _mm512_maskz_loadu_epi8(mask, x + plane + r),
          _mm512_maskz_loadu_epi8(mask, x + 2 * plane + r), y + 3 * r, 3 * (rows - r));
  });
}

void quantize_three(const float* x, ptrdiff_t plane, uint8_t* y, size_t count, float scale,
                    int32_t zero_point) {
  const TripleMaker store;
  const Quantiser quantise(scale, zero_point);
  for_vectors64(count, [&](size_t i, __mmask64 mask) {
    store(quantise(x + i, mask), quantise(x + plane + i, mask), quantise(x + 2 * plane + i, mask),
          y + 3 * i, 3 * (count - i));
  });
}

// One row of triples into three planes of `count` bytes each: an image from NHWC to NCHW.
void separate_three(const uint8_t* x, uint8_t* y, ptrdiff_t plane, size_t count) {
  // Byte i of plane k is byte 3 * i + k of the triples: in the first 128 bytes or in the third 64.
  alignas(64) uint8_t order[3][64];
  __mmask64 third[3] = {0, 0, 0};
  for (int k = 0; k < 3; ++k) {
    for (int i = 0; i < 64; ++i) {
      order[k][i] = static_cast<uint8_t>(3 * i + k);
      if (3 * i + k >= 128) third[k] |= __mmask64{1} << i;
    }
  }
  for_vectors64(count, [&](size_t i, __mmask64 mask) {
    const uint8_t* triples = x + 3 * i;
    const size_t bytes = 3 * (count - i);
    __m512i part[3];
    for (size_t k = 0; k < 3; ++k) {
      const __mmask64 inside = bytes > 64 * k ? first64(bytes - 64 * k) : 0;
      part[k] = _mm512_maskz_loadu_epi8(inside, triples + 64 * k);
    }
    for (int k = 0; k < 3; ++k) {
      const __m512i index = _mm512_load_si512(order[k]);
      const __m512i two = _mm512_permutex2var_epi8(part[0], index, part[1]);
      const __m512i three = _mm512_mask_permutexvar_epi8(two, third[k], index, part[2]);
      _mm512_mask_storeu_epi8(y + k * plane + i, mask, three);
    }
  });
}

void transpose(const uint8_t* x, ptrdiff_t x_stride, uint8_t* y, ptrdiff_t y_stride, size_t rows,
               size_t columns) {
  if (columns == 3 && y_stride == 3) {
    interleave_three(x, x_stride, y, rows);
  } else if (rows == 3 && x_stride == 3) {
    separate_three(x, y, y_stride, columns);
  } else {
    avx512vnni::transpose(x, x_stride, y, y_stride, rows, columns);
  }
}

}  // namespace

const VectorKernels kAvx512VnniVectorKernels = {
    .quantize = quantize,
    .quantize_three = quantize_three,
    .dequantize = dequantize,
    .lookup = lookup,
    .lookup_rows = avx512vnni::lookup_rows,
    .lookup_columns = avx512vnni::lookup_columns,
    .add = add,
    .mul = mul,
    .max = max,
    .accumulate = accumulate,
    .requantize = requantize,
    .transpose = transpose,
    .copy_rows = avx2::copy_rows,
    .gather_rows = avx2::gather_rows,
    .binary = {add_floats, subtract_floats, multiply_floats, divide_floats, min_floats, max_floats},
    .unary = {negate_floats, absolute_floats, square_root_floats},
};

}  // namespace furiosa::kernels
