#ifndef FURIOSA_KERNELS_NATIVE_AVX512VNNI_SOFTMAX_H_
#define FURIOSA_KERNELS_NATIVE_AVX512VNNI_SOFTMAX_H_

#include <cstddef>
#include <cstdint>

#include "kernels/native/float_kernels.h"

namespace furiosa::kernels::avx512vnni {

// FloatKernels::softmax where no quotient exceeds 2^22.
void softmax(const uint8_t* x, uint8_t* y, size_t length, float* scratch,
             const SoftmaxParameters& parameters);

}  // namespace furiosa::kernels::avx512vnni

#endif  // FURIOSA_KERNELS_NATIVE_AVX512VNNI_SOFTMAX_H_
