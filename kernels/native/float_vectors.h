#ifndef FURIOSA_KERNELS_NATIVE_FLOAT_VECTORS_H_
#define FURIOSA_KERNELS_NATIVE_FLOAT_VECTORS_H_

#include <cstddef>
#include <cstdint>

namespace furiosa::kernels {

// Vectors of the compiler, for loops that are compiled for several instruction sets.
inline constexpr size_t kLanes = 16;

// They are passed by reference only: how they are passed by value depends on the instruction set.
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Ints = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

}  // namespace furiosa::kernels

#endif  // FURIOSA_KERNELS_NATIVE_FLOAT_VECTORS_H_
