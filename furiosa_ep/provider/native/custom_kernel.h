#ifndef FURIOSA_EP_PROVIDER_NATIVE_CUSTOM_KERNEL_H_
#define FURIOSA_EP_PROVIDER_NATIVE_CUSTOM_KERNEL_H_

#include <vector>

#include "furiosa_ep/provider/native/compiler.h"
#include "furiosa_ep/provider/native/ort.h"

namespace furiosa {

// A node of a plugin's operator on the CPU: calls the plugin's function, under Python's GIL.
class CustomKernel {
 public:
  // Throws Error where the node cannot run on the CPU.
  CustomKernel(const Ort& ort, const Operator& one, const ort::KernelInfo* info);

  void compute(ort::KernelContext* context) const;

 private:
  const Ort& ort_;
  std::vector<bool> wanted_;  // of its outputs
  CompilerHandle handle_;
};

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_CUSTOM_KERNEL_H_
