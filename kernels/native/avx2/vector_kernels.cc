#include "kernels/native/vector_kernels.h"

#include <immintrin.h>

#include "kernels/native/avx2/table.h"
#include "kernels/native/expression_loops.h"

namespace furiosa::kernels {
namespace {

// Calls step(offset) for whole vectors of `Width` elements. Where count is no multiple of Width,
// the rest is done through buffers by tail(offset, left).
template <size_t Width, class Step, class Tail>
inline void for_vectors(size_t count, Step step, Tail tail) {
  size_t i = 0;
  for (; i + Width <= count; i += Width) step(i);
  if (i < count) tail(i, count - i);
}

inline __m256 load_floats(const uint8_t* x) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))));
}

inline __m256i load(const void* x) { return _mm256_loadu_si256(static_cast<const __m256i*>(x)); }

inline void store(void* y, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(y), value); }

// 32 bytes in order from four vectors of eight int32 each, saturated to uint8.
inline __m256i pack_unsigned(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// As pack_unsigned, saturated to int8 and its top bit flipped where `bias` is 128.
inline __m256i pack(const __m256i v[4], int32_t bias) {
  if (bias == 0) return pack_unsigned(v[0], v[1], v[2], v[3]);
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  const __m256i ordered =
      _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  return _mm256_xor_si256(ordered, _mm256_set1_epi8(-128));
}

// clamp(rne(value) + zero_point, 0, 255) in float, where a NaN counts as the lowest value.
struct ByteRounding {
  explicit ByteRounding(int32_t zero_point)
      : least(_mm256_set1_ps(static_cast<float>(-zero_point))),
        most(_mm256_set1_ps(static_cast<float>(255 - zero_point))),
        zero(_mm256_set1_epi32(zero_point)) {}

  __m256i operator()(__m256 value) const {
    const __m256 clamped = _mm256_min_ps(_mm256_max_ps(value, least), most);
    return _mm256_add_epi32(_mm256_cvtps_epi32(clamped), zero);
  }

  __m256 least;
  __m256 most;
  __m256i zero;
};

void quantize(const float* x, uint8_t* y, size_t count, float scale, int32_t zero_point) {
  const __m256 divisor = _mm256_set1_ps(scale);
  const ByteRounding round(zero_point);
  const auto convert = [&](const float* from, uint8_t* to) {
    __m256i v[4];
    for (int k = 0; k < 4; ++k) {
      v[k] = round(_mm256_div_ps(_mm256_loadu_ps(from + 8 * k), divisor));
    }
    store(to, pack_unsigned(v[0], v[1], v[2], v[3]));
  };
  for_vectors<32>(
      count, [&](size_t i) { convert(x + i, y + i); },
      [&](size_t i, size_t left) {
        float from[32] = {};
        uint8_t to[32];
        __builtin_memcpy(from, x + i, left * sizeof(float));
        convert(from, to);
        __builtin_memcpy(y + i, to, left);
      });
}

void dequantize(const uint8_t* x, float* y, size_t count, float scale, int32_t zero_point) {
  const __m256 factor = _mm256_set1_ps(scale);
  const __m256 zero = _mm256_set1_ps(static_cast<float>(zero_point));
  const auto convert = [&](const uint8_t* from) {
    return _mm256_mul_ps(_mm256_sub_ps(load_floats(from), zero), factor);
  };
  for_vectors<8>(
      count, [&](size_t i) { _mm256_storeu_ps(y + i, convert(x + i)); },
      [&](size_t i, size_t left) {
        uint8_t from[8] = {};
        float to[8];
        __builtin_memcpy(from, x + i, left);
        _mm256_storeu_ps(to, convert(from));
        __builtin_memcpy(y + i, to, left * sizeof(float));
      });
}

void lookup(const uint8_t* x, uint8_t* y, size_t count, const uint8_t* table) {
  size_t i = 0;
  if (count >= 128) {  // what it takes to prepare the table pays
    const avx2::Table prepared(table);
    for (; i + 64 <= count; i += 64) {
      __m256i bytes[2] = {load(x + i), load(x + i + 32)};
      prepared.look_up(bytes);
      store(y + i, bytes[0]);
      store(y + i + 32, bytes[1]);
    }
  }
  for (; i < count; ++i) y[i] = table[x[i]];
}

// Calls combine(a, b, y) on 32 bytes each.
template <class Combine>
inline void combine_rows(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count,
                         Combine combine) {
  for_vectors<32>(
      count, [&](size_t i) { combine(a + i, b + i, y + i); },
      [&](size_t i, size_t left) {
        uint8_t of_a[32] = {}, of_b[32] = {}, to[32];
        __builtin_memcpy(of_a, a + i, left);
        __builtin_memcpy(of_b, b + i, left);
        combine(of_a, of_b, to);
        __builtin_memcpy(y + i, to, left);
      });
}

void add(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count, const AddParameters& p) {
  const __m256 a_scale = _mm256_set1_ps(p.a_scale);
  const __m256 b_scale = _mm256_set1_ps(p.b_scale);
  const __m256 offset = _mm256_set1_ps(p.offset);
  const __m256 bias = _mm256_set1_ps(static_cast<float>(p.bias));
  combine_rows(a, b, y, count, [&](const uint8_t* of_a, const uint8_t* of_b, uint8_t* to) {
    __m256i v[4];
    for (int k = 0; k < 4; ++k) {
      const __m256 va = _mm256_sub_ps(load_floats(of_a + 8 * k), bias);
      const __m256 vb = _mm256_sub_ps(load_floats(of_b + 8 * k), bias);
      v[k] = _mm256_cvtps_epi32(_mm256_fmadd_ps(va, a_scale, _mm256_fmadd_ps(vb, b_scale, offset)));
    }
    store(to, pack(v, p.bias));
  });
}

void mul(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t count, const MulParameters& p) {
  const __m256 a_zero = _mm256_set1_ps(static_cast<float>(p.a_zero_point));
  const __m256 b_zero = _mm256_set1_ps(static_cast<float>(p.b_zero_point));
  const __m256 multiplier = _mm256_set1_ps(p.multiplier);
  const __m256 y_zero = _mm256_set1_ps(p.y_zero_point);
  combine_rows(a, b, y, count, [&](const uint8_t* of_a, const uint8_t* of_b, uint8_t* to) {
    __m256i v[4];
    for (int k = 0; k < 4; ++k) {
      const __m256 va = _mm256_sub_ps(load_floats(of_a + 8 * k), a_zero);
      const __m256 vb = _mm256_sub_ps(load_floats(of_b + 8 * k), b_zero);
      const __m256 product = _mm256_mul_ps(va, vb);  // exact: at most 17 bits
      v[k] = _mm256_cvtps_epi32(_mm256_add_ps(_mm256_mul_ps(product, multiplier), y_zero));
    }
    store(to, pack(v, p.bias));
  });
}

// The largest of the taps of one window; load(tap) reads some of their channels.
template <class Vector, class Load, class Max>
inline Vector max_taps(const uint8_t* x, const Windows& w, Vector most, Load load_tap, Max larger) {
  for (size_t i = 0; i < w.rows; ++i, x += w.row_stride) {
    const uint8_t* tap = x;
    for (size_t k = 0; k < w.columns; ++k, tap += w.column_stride) {
      most = larger(most, load_tap(tap));
    }
  }
  return most;
}

void max(const uint8_t* x, const Windows& w, uint8_t* y, size_t count) {
  const auto larger_of_32 = [](__m256i a, __m256i b) { return _mm256_max_epu8(a, b); };
  const auto larger_of_8 = [](__m128i a, __m128i b) { return _mm_max_epu8(a, b); };
  const auto larger = [](uint8_t a, uint8_t b) { return a > b ? a : b; };
  const auto load_32 = [](const uint8_t* tap) { return load(tap); };
  const auto load_8 = [](const uint8_t* tap) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(tap));
  };
  const auto load_1 = [](const uint8_t* tap) { return *tap; };
  for (size_t n = 0; n < w.count; ++n, x += w.x_step, y += w.y_step) {
    size_t c = 0;
    for (; c + 32 <= count; c += 32) {
      store(y + c, max_taps(x + c, w, _mm256_setzero_si256(), load_32, larger_of_32));
    }
    for (; c + 8 <= count; c += 8) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(y + c),
                       max_taps(x + c, w, _mm_setzero_si128(), load_8, larger_of_8));
    }
    for (; c < count; ++c) y[c] = max_taps(x + c, w, uint8_t{0}, load_1, larger);
  }
}

void accumulate(const uint8_t* x, ptrdiff_t stride, size_t rows, int32_t* sums, size_t count) {
  size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    __m256i sum[4];
    for (int k = 0; k < 4; ++k) sum[k] = load(sums + i + 8 * k);
    const uint8_t* row = x + i;
    for (size_t r = 0; r < rows; ++r, row += stride) {
      for (int k = 0; k < 4; ++k) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + 8 * k));
        sum[k] = _mm256_add_epi32(sum[k], _mm256_cvtepu8_epi32(bytes));
      }
    }
    for (int k = 0; k < 4; ++k) store(sums + i + 8 * k, sum[k]);
  }
  for (; i < count; ++i) {
    for (size_t r = 0; r < rows; ++r) sums[i] += x[static_cast<ptrdiff_t>(r) * stride + i];
  }
}

void requantize(const int32_t* sums, uint8_t* y, size_t count, float multiplier,
                int32_t zero_point) {
  const __m256 factor = _mm256_set1_ps(multiplier);
  const ByteRounding round(zero_point);
  const auto convert = [&](const int32_t* from, uint8_t* to) {
    __m256i v[4];
    for (int k = 0; k < 4; ++k) {
      v[k] = round(_mm256_mul_ps(_mm256_cvtepi32_ps(load(from + 8 * k)), factor));
    }
    store(to, pack_unsigned(v[0], v[1], v[2], v[3]));
  };
  for_vectors<32>(
      count, [&](size_t i) { convert(sums + i, y + i); },
      [&](size_t i, size_t left) {
        int32_t from[32] = {};
        uint8_t to[32];
        __builtin_memcpy(from, sums + i, left * sizeof(int32_t));
        convert(from, to);
        __builtin_memcpy(y + i, to, left);
      });
}

}  // namespace

const VectorKernels kAvx2VectorKernels = {
    .quantize = quantize,
    .quantize_three = nullptr,
    .dequantize = dequantize,
    .lookup = lookup,
    .lookup_rows = avx2::lookup_rows,
    .lookup_columns = scalar::lookup_columns,
    .add = add,
    .mul = mul,
    .max = max,
    .accumulate = accumulate,
    .requantize = requantize,
    .transpose = avx2::transpose,
    .copy_rows = avx2::copy_rows,
    .gather_rows = avx2::gather_rows,
    .binary = {add_floats, subtract_floats, multiply_floats, divide_floats, min_floats, max_floats},
    .unary = {negate_floats, absolute_floats, square_root_floats},
};

}  // namespace furiosa::kernels
