"""The kernel of PeakNormalize, whose native function is in peak_normalize.c."""

from furiosa_ep.plugin import Kernel, NativeKernel, file_in_package

from furiosa_ep_hello_kernel.peak_normalize import cases, reference

LIBRARY = file_in_package("furiosa_ep_hello_kernel", "libpeak_normalize.so")

KERNEL = Kernel(
    "HELLO_KERNEL_PEAK_NORMALIZE",
    "x:u8 -> y:u8",
    reference,
    attributes="peak:f",
    native=(NativeKernel(LIBRARY, "peak_normalize"),),
    cases=cases,
)
